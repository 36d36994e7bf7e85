"""Shared by the tests of DeX-Portrait's jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_dex import tiny_dex_pipeline


@pytest.fixture(scope="session")
def dex_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of `tiny_dex_pipeline`."""
    folder = tmp_path_factory.mktemp("dex") / "tiny"
    tiny_dex_pipeline().save_pretrained(folder)
    return folder
