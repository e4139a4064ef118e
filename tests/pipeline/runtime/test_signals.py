"""Signals stop a run, and end the process before training has begun."""

import os
import signal
import time

import pytest
from ranks import ended, free_port, start_ranks

from pipeline.runtime.signals import STOP, StopSignals


@pytest.fixture
def hangup():
    """Sets what SIGHUP does, as a launcher leaves it; as before when the test is over."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", STOP)
def test_a_signal_is_noted(hangup, number):
    """All stop signals are recorded, including SIGHUP, which a closed terminal sends."""
    hangup(signal.SIG_DFL)
    signals = StopSignals()
    with signals.listening():
        os.kill(os.getpid(), number)
    assert signals.received == number


def test_nohup_keeps_its_meaning(hangup):
    """A run that is to survive its terminal ignores SIGHUP."""
    hangup(signal.SIG_IGN)
    signals = StopSignals()
    with signals.listening():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signals.received == 0


def wait_for_a_rank_that_never_comes(ready, port):
    """The main thread waits in C++, where no Python handler runs."""
    import torch.distributed as dist

    signals = StopSignals()
    with signals.listening(), signals.ending_at_once():
        ready.write_text("")
        dist.TCPStore("127.0.0.1", port, 2, is_master=True, wait_for_workers=True)


def test_a_signal_ends_a_rank_that_waits_for_the_others(tmp_path):
    """The process ends with status 75 and a line that states the reason."""
    ready = tmp_path / "ready"
    (process,) = start_ranks(wait_for_a_rank_that_never_comes, 1, ready, free_port(), folder=tmp_path)
    while not ready.exists():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    assert ended([process], 60) == [75]
    assert "ended after SIGTERM, before training began" in (tmp_path / "0.log").read_text()


def test_afterwards_a_signal_is_only_noted():
    """Once the block is over, the others have to be asked first."""
    signals = StopSignals()
    with signals.listening():
        with signals.ending_at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.received == signal.SIGTERM
