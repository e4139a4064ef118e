"""Processes without root's right to read and write what the mode of a file forbids."""

import ctypes
from contextlib import contextmanager

PR_CAPBSET_DROP, CAPABILITY_VERSION_3, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 0x20080522, 1, 2


@contextmanager
def obeying_permissions():
    """Within the block, deny this thread root's right to read and write what a mode forbids (capset(2))."""
    libc, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: of the first 32 capabilities, then of the rest
    assert libc.capget(header, held) == 0, "capabilities cannot be read"
    fewer = (ctypes.c_uint32 * 6)(held[0] & ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH), *held[1:])
    assert libc.capset(header, fewer) == 0, "capabilities cannot be given up"
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0, "capabilities cannot be taken back"


def obey_permissions():
    """Take root's rights from this process and those that it starts for good, since access(2) considers the rights that
    root could take.
    """
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
