"""What the tests of avatars share: the head model, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="avatars need the extra `train`")
pytest.importorskip("scipy", reason="avatars need the extra `train`")

from mien.avatars.head_model import HeadModel, load_head_model


@pytest.fixture(scope="session")
def model(pack: Path) -> HeadModel:
    return load_head_model(pack)
