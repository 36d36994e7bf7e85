"""Shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import mien

sys.path.insert(0, str(Path(__file__).parent))
ASSETS = Path(__file__).resolve().parent / "assets"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny tensors gain nothing from threads, and two cores are often busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def assets() -> Path:
    """tests/assets: small models and pictures of others, each beside its licence (see its README)."""
    return ASSETS


@pytest.fixture(scope="session")
def pack() -> Path:
    """The head model that comes with the package."""
    return Path(mien.__file__).parent / "avatars" / "ict_head" / "head_model.npz"
