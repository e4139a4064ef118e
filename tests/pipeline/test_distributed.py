"""One process is the plain case, and a failure on one rank is a failure on all."""

import pytest
from ranks import on_ranks

from pipeline import distributed


def meet(failing):
    """What each rank sees when the ranks `failing` raise inside `together`."""
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


def test_failure_of_one_rank_reaches_all_once():
    """The failing rank keeps its error, the others learn who failed, and all can still communicate."""
    outcomes = on_ranks(meet, 2, [1])
    assert outcomes == [
        ("peer: rank 1 could not read the file; its message says why", 3.0, 1.0),
        ("own: the file is cut short", 3.0, 1.0),
    ]


def test_failure_of_all_ranks_alike_is_reported_once():
    """The same message on every rank is the first rank's to print."""
    outcomes = on_ranks(meet, 2, [0, 1])
    assert [outcome.split(":")[0] for outcome, *_ in outcomes] == ["own", "peer"]


def test_single_process_needs_no_group():
    """Rank 0 of 1; reductions are the identity; errors pass through."""
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.gather_objects("x") == ["x"]
    with pytest.raises(ValueError, match="mine"), distributed.together("work"):
        raise ValueError("mine")
