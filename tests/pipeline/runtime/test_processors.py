"""The name of a CPU is that of /proc/cpuinfo."""

import platform

import pytest

from pipeline.runtime.processors import cpu_name

LINES = "processor\t: {number}\nmodel name\t: AMD EPYC\nflags\t\t: fpu {flags}\nbogomips\t: 5192.28\n"


@pytest.mark.parametrize(("flags", "shown"), [("avx512_bf16 amx_bf16", "amx_bf16 avx512_bf16"), ("avx512f", "no bf16")])
def test_a_cpu_is_named_with_its_instructions_for_bf16(tmp_path, flags, shown):
    """The name has the instructions that multiply bf16 matrices, or says that there are none."""
    text = "\n".join(LINES.format(number=number, flags=flags) for number in (0, 1))
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == f"AMD EPYC ({shown})"


def test_a_system_without_a_name_gives_its_architecture(tmp_path):
    """Without the file, or without a name in it, the name is that of the architecture."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    for name in ("cpuinfo", "nowhere"):
        assert cpu_name(tmp_path / name) == platform.machine()
