"""Fixtures of the page's tests: its folder, and a studio with the smallest model and faces that are found at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.web.options import ServeOptions
from mien.web.studio import Studio
from mien.web.workspace import Workspace
from samples import DrawnFaceReader, job_pipeline


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(tmp_path)
    yield made
    made.close()


@pytest.fixture
def studio(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Studio:
    pipe = job_pipeline()
    monkeypatch.setattr("mien.web.studio.load_pipeline", lambda *_, **__: pipe)
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_: DrawnFaceReader())
    return Studio(ServeOptions(device="cpu"), workspace)
