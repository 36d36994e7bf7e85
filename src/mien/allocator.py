"""Memory that is kept for the next tensor instead of being given back to the system.

glibc asks the system for every large block anew, and returns it at once. A network's features are such blocks: on a CPU
each forward pass then waits for tens of thousands of fresh pages. Kept, they cost nothing the second time: 10 to 15 %
of nano's inference, more than half of its training on virtual machines.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
_KEEP = 2**31 - 1  # bytes at the heap's end that are not given back
_STEP = 2**28  # bytes by which the heap grows


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for this process; whether it can (glibc alone).

    For programs that run networks on the CPU: the process stays as large as it ever was.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        library = ctypes.CDLL(None)
        settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEEP), (_TOP_PAD, _STEP))
        return all([library.mallopt(name, value) for name, value in settings])
    except (OSError, AttributeError):
        return False
