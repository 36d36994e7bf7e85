"""What the tests of avatars share: the head model, where ../shared has it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("numba", reason="avatars need the extra `train`")
pytest.importorskip("scipy", reason="avatars need the extra `train`")

from mien.avatars.head_model import HeadModel, load_head_model


@pytest.fixture(scope="session")
def pack(shared: Path) -> Path:
    path = shared / "data/ict_facekit/ict_facekit.npz"
    if not path.is_file():
        pytest.skip("needs the head model in ../shared/data/ict_facekit")
    return path


@pytest.fixture(scope="session")
def model(pack: Path) -> HeadModel:
    return load_head_model(pack)
