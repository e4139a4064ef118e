"""Signals stop a run, and end the process before training has begun."""

import os
import signal
import time

import pytest
from ranks import ended, free_port, start_ranks

from pipeline.runtime.signals import STOP, StopSignals


@pytest.fixture
def hangup():
    """Set the handler of SIGHUP as a launcher leaves it, and restore it after the test."""
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
    """SIGHUP stays ignored under nohup, so that the run survives its terminal."""
    hangup(signal.SIG_IGN)
    signals = StopSignals()
    with signals.listening():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signals.received == 0


def wait_for_a_rank_that_never_comes(ready, port):
    """Wait in C++, where no Python handler runs, for a rank that does not come."""
    import torch.distributed as dist

    signals = StopSignals()
    with signals.listening(), signals.ending_at_once():
        ready.write_text("")
        dist.TCPStore("127.0.0.1", port, 2, is_master=True, wait_for_workers=True)


def test_a_signal_ends_a_rank_that_waits_for_the_others(tmp_path):
    """A signal ends a rank that waits for the others, with status 75 and a line that states the reason."""
    ready = tmp_path / "ready"
    (process,) = start_ranks(wait_for_a_rank_that_never_comes, 1, ready, free_port(), folder=tmp_path)
    while not ready.exists():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    assert ended([process], 60) == [75]
    assert "ended after SIGTERM, before training began" in (tmp_path / "0.log").read_text()


def test_afterwards_a_signal_is_only_noted():
    """After the block `ending_at_once`, a signal is only recorded, since the other ranks have to be asked first."""
    signals = StopSignals()
    with signals.listening():
        with signals.ending_at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
    assert signals.received == signal.SIGTERM
