"""Options of a plan that are out of range are errors that name them."""

import pytest

from pipeline.planning.options import Options
from pipeline.runtime.formatting import GIB


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpus", 0),
        ("gpus_per_node", 0),
        ("stages", []),
        ("stages", [4]),
        ("mfu", 0.0),
        ("headroom", 1.0),
        ("price", -1.0),
        ("network_gb_s", -1.0),
    ],
)
def test_values_out_of_range(field, value):
    """The message begins with the option and the value."""
    with pytest.raises(ValueError) as error:
        Options(**{field: value})
    assert str(error.value).startswith(f"--{field} {value}: ")


def test_headroom_is_not_planned_with():
    """A tenth of an H100's 80 GiB is kept free."""
    options = Options(gpu="h100", headroom=0.1)
    assert options.usable == pytest.approx(0.9 * options.device.memory_gib * GIB)


def test_the_network_is_that_of_the_device_unless_given():
    """The network is that of the device, unless a value other than 0 is given."""
    assert Options().cluster(8).network_gb_s == Options().device.network_gb_s
    assert Options(network_gb_s=3.0).cluster(8).network_gb_s == 3.0
