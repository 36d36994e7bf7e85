"""Freed memory is kept."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import numpy as np
from mien.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(20_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone")
def test_large_blocks_are_not_fetched_anew() -> None:
    kept, plain = (
        int(subprocess.run([sys.executable, "-c", COUNT, how], check=True, capture_output=True, text=True).stdout)
        for how in ("keep", "plain")
    )
    assert kept < 0.2 * max(plain, 500)
