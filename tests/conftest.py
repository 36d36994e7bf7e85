"""Shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

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
    """A head model: ICT-FaceKit with 60 of its 100 identities, rounded to a hundredth of a centimetre."""
    return ASSETS / "head_model" / "head_model.npz"
