"""Names of processors, for records of where something was measured."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BF16 = ("amx_bf16", "avx512_bf16")
"""Flags in /proc/cpuinfo of the instructions that multiply bf16 matrices."""


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """Name of the CPU and its instructions for bf16 matrices, such as `AMD EPYC (avx512_bf16)`.

    A system without /proc/cpuinfo, or one that does not name the CPU there, gives its architecture, such as `aarch64`.

    Args:
        cpuinfo: file with the lines of /proc/cpuinfo.
    """
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    if "model name" not in values:
        return platform.machine()
    found = [flag for flag in BF16 if flag in values.get("flags", "").split()]
    return f"{values['model name']} ({' '.join(found) or 'no bf16'})"
