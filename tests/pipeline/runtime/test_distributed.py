"""Collectives work in one process without a group, and a failure on one rank is a failure on all."""

from datetime import timedelta
from unittest.mock import patch

import psutil
import pytest
from ports import free_port
from ranks import on_ranks

from pipeline.runtime import distributed


def meet(failing):
    """Return what each rank sees when the ranks `failing` raise inside `together`."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    outcome = "passed"
    try:
        with distributed.together("read the file"):
            if distributed.rank() in failing:
                raise ValueError("the file is cut short")
    except distributed.PeerError as error:
        outcome = f"peer: {error}"
    except ValueError as error:
        outcome = f"own: {error}"
    total = distributed.all_reduce_sum_(torch.tensor(distributed.rank() + 1.0)).item()
    largest = distributed.all_reduce_max(float(distributed.rank()), torch.device("cpu"))
    distributed.shutdown()
    return outcome, total, largest


def reduced(backends):
    """Return, for each backend, this rank's part of a reduce-scatter, and what rank 1 gets of a reduction to it."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    rank, found = distributed.rank(), []
    for backend in backends:
        with patch("torch.distributed.get_backend", return_value=backend):
            scattered, whole = torch.arange(4.0) * (rank + 1), torch.arange(4.0) * (rank + 1)
            distributed.reduce_scatter_sum_(scattered)
            distributed.reduce_sum_(whole, 1)
        found.append((scattered.chunk(2)[rank].tolist(), whole.tolist() if rank == 1 else None))
    distributed.shutdown()
    return found


def test_sums_arrive_at_their_owners():
    """With the collectives of gloo and those of other backends, each rank has the sums that belong to it."""
    first, second = on_ranks(reduced, 2, ["gloo", "nccl"])
    assert first == [([0.0, 3.0], None)] * 2
    assert second == [([6.0, 9.0], [0.0, 3.0, 6.0, 9.0])] * 2


def test_failure_of_one_rank_reaches_all_once():
    """The failing rank keeps its error, the others learn which rank failed, and all can still communicate."""
    outcomes = on_ranks(meet, 2, [1])
    assert outcomes == [
        ("peer: rank 1 could not read the file; its message says why", 3.0, 1.0),
        ("own: the file is cut short", 3.0, 1.0),
    ]


def test_failure_of_all_ranks_alike_is_reported_once():
    """If all ranks fail with the same message, the first rank prints it."""
    outcomes = on_ranks(meet, 2, [0, 1])
    assert [outcome.split(":")[0] for outcome, *_ in outcomes] == ["own", "peer"]


def test_single_process_needs_no_group():
    """A process without a group is rank 0 of 1, reductions do not change values, and errors are raised unchanged."""
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.gather_objects("x") == ["x"]
    with pytest.raises(ValueError, match="mine"), distributed.together("work"):
        raise ValueError("mine")


@pytest.mark.parametrize(("local_ranks", "address"), [("2", "127.0.0.1"), ("1", "0.0.0.0")])
def test_the_rendezvous_listens_where_it_must(monkeypatch, local_ranks, address):
    """The store listens on MASTER_ADDR, and on all addresses if that is loopback in a job of several machines."""
    port = free_port()
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local_ranks)
    store = distributed._store(0, 2, timedelta(seconds=10))
    listening = {
        connection.laddr.ip
        for connection in psutil.Process().net_connections()
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    assert listening == {address}
    with pytest.raises(OSError, match=f"MASTER_ADDR, MASTER_PORT = localhost, {port}: rank 0 cannot listen there"):
        distributed._store(0, 2, timedelta(seconds=10))
    del store
