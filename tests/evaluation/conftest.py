"""Noise, and the independent judge of ../shared/tools."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="session")
def judge(shared: Path) -> ModuleType:
    """../shared/tools/judge.py, which measures by code of its own."""
    pytest.importorskip("mediapipe", reason="judge.py needs mediapipe")
    spec = importlib.util.spec_from_file_location("judge", shared / "tools" / "judge.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def frames() -> np.ndarray:
    """Five noisy frames, uint8 [5, 64, 64, 3]."""
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
