"""After each step, all ranks learn of the signals and errors of every rank."""

import os
import signal

import pytest
from ranks import on_ranks

from pipeline.runlog.events import Events
from pipeline.runtime.signals import StopSignals
from pipeline.training.supervision import Supervisor


class Quiet:
    """A watchdog that never ends the process."""

    def beat(self):
        pass


def votes(folder):
    """Return the outcomes of three steps: nothing; a signal on rank 1 while rank 0 writes; an error on rank 1."""
    from datetime import timedelta

    from pipeline.runtime import distributed

    distributed.join("gloo", timedelta(seconds=60))
    signals, rank = StopSignals(), distributed.rank()
    supervisor = Supervisor(signals, Quiet(), Events(folder, 1, 0))
    found = []
    with signals.listening():
        supervisor.cast(writing=False)
        found.append(supervisor.outcome())
        if rank == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        supervisor.cast(writing=rank == 0)
        found.append(supervisor.outcome())
        if rank == 1:
            supervisor.note(OSError("the disk is gone"))
            supervisor.note(ValueError("a consequence"))
        supervisor.cast(writing=False)
        try:
            supervisor.outcome()
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    distributed.shutdown()
    return found


def test_all_ranks_learn_of_a_signal_an_error_and_a_write(tmp_path):
    """Both ranks have the same outcome, and the rank with an error has the error itself."""
    first, second = on_ranks(votes, 2, tmp_path)
    assert first[:2] == second[:2] == [("", False), ("SIGUSR1", True)]
    assert first[2] == "PeerError: rank 1 could not go on; its message says why"
    assert second[2] == "OSError: the disk is gone"


def test_a_single_process_gets_its_own_vote(tmp_path):
    """Without a process group, the outcome is this process's own vote."""
    supervisor = Supervisor(StopSignals(), Quiet(), Events(tmp_path, 1, 0))
    supervisor.cast(writing=True)
    assert supervisor.outcome() == ("", True)
    with supervisor.noting_errors():
        raise OSError("full")
    supervisor.cast(writing=False)
    with pytest.raises(OSError, match="full"):
        supervisor.outcome()


def test_the_second_interrupt_of_a_person_does_not_wait(tmp_path):
    """The first Ctrl-C is a request, the second ends the process, and earlier handlers are restored."""
    before = signal.getsignal(signal.SIGINT)
    signals = StopSignals()
    with signals.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
