"""What the tests of avatars share: the head model, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.avatars.head_model import HeadModel, load_head_model


@pytest.fixture(scope="session")
def model(pack: Path) -> HeadModel:
    return load_head_model(pack)
