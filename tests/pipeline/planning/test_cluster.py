"""Laws of pipeline/planning/cluster.py: volumes of communication and their time."""

from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from pipeline.planning.choice import zero_settings
from pipeline.planning.cluster import LATENCY_S, LINK_EFFICIENCY, Cluster, traffic
from pipeline.planning.options import Options
from pipeline.runtime.devices import DEVICES

P = 336_232_258
NODE = Cluster(DEVICES["h100"], 8, 8, 50)


def test_the_option_offers_every_device():
    """`--gpu` offers the names of the table of devices."""
    assert set(get_args(get_type_hints(Options)["gpu"])) == set(DEVICES)


@pytest.mark.parametrize(("stage", "accumulation", "times"), [(0, 4, 4), (1, 4, 5), (2, 1, 5), (2, 4, 17), (3, 4, 12)])
def test_volume(stage, accumulation, times):
    """In units of P weights of 2 bytes, 2 P of fp32 gradients are reduced and P weights gathered, repeatedly or once.

    At stage 3 the weights of a small model stay gathered until the backward pass, so they are sent once and not twice.
    """
    moved = traffic(zero_settings(stage, "bf16"), P, 2, NODE, accumulation, 1.0)
    assert moved.volume == pytest.approx(times * 2 * P * 7 / 8)


def test_gradients_that_are_scattered_are_sent_once():
    """In bf16 at stage 1, P fp32 gradients are reduced to their owners and P weights gathered."""
    moved = traffic(zero_settings(1, "bf16"), P, 2, NODE, 4, 1.0, scatters=True)
    assert moved.volume == pytest.approx(3 * 2 * P * 7 / 8)


def test_a_large_model_is_gathered_twice_at_stage_3():
    """At stage 3 all weights of a large model are gathered twice, except those that are kept between the passes."""
    zero = zero_settings(3, "bf16")
    moved = traffic(zero, 10**11, 2, NODE, 1, 1.0)
    assert moved.volume == pytest.approx(2 * (4 * 10**11 - zero.kept_gathered(10**11)) * 7 / 8)


def test_one_gpu_sends_nothing():
    """A single GPU sends nothing and waits for no collective."""
    moved = traffic(zero_settings(2, "bf16"), P, 2, replace(NODE, gpus=1), 1, 1.0)
    assert (moved.volume, moved.seconds, moved.exposed) == (0, 0, 0)


def test_the_slower_link_decides():
    """Within a node NVLink decides, and between nodes the adapters of a node together if they are slower."""
    within = NODE.seconds(8e9, 0)
    assert within == pytest.approx(8e9 * 7 / 8 / (450e9 * LINK_EFFICIENCY))
    across = replace(NODE, gpus=16, network_gb_s=5)
    assert across.seconds(8e9, 0) == pytest.approx(8e9 * 15 / 16 / (40e9 * LINK_EFFICIENCY))
    assert across.seconds(0, 3) == pytest.approx(3 * 4 * LATENCY_S)


def test_only_overlapped_communication_is_hidden():
    """Stage 2 overlaps all but the gathering of weights with two thirds of a micro-batch; stages 0 and 1 overlap
    nothing.
    """
    for stage in (0, 1):
        moved = traffic(zero_settings(stage, "bf16"), P, 2, NODE, 2, 100.0)
        assert moved.exposed == moved.seconds > 0
    patient = traffic(zero_settings(2, "bf16"), P, 2, NODE, 2, 100.0)
    hurried = traffic(zero_settings(2, "bf16"), P, 2, NODE, 2, 0.0)
    assert patient.exposed == pytest.approx(NODE.seconds(2 * P, 1))
    assert hurried.exposed == pytest.approx(hurried.seconds)
