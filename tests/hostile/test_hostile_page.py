"""The same hostile inputs, uploaded to the page: a result or one sentence that names no place of the server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hostile_files import Make, Videos, drivers, portraits
from mien.errors import MienError
from mien.jobs.options import AnimateOptions
from mien.web.running import Watch
from mien.web.studio import Studio
from page_parts import studio, workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

__all__ = ["studio", "workspace"]  # fixtures


def try_out(studio: Studio, cases: dict[str, Make], portrait: Path | None, driver: Path | None) -> tuple[int, int]:
    """Animate with each case in the place that was left None; how many gave a result, and how many a sentence."""
    space, done, told = studio.workspace, 0, 0
    for number, (name, make) in enumerate(cases.items()):
        folder = space.root / f"upload{number}"
        folder.mkdir()
        made, results = make(folder), space.result_folder()
        options = AnimateOptions((portrait or made,), driver or made, results, steps=1, guidance=1.0)
        try:
            report = studio.animate(options, Watch(60))
        except MienError as error:
            sentence = space.without_paths(str(error))
            assert "\n" not in sentence and str(space.root) not in sentence, name
            assert list(results.rglob("*")) == [], name
            told += 1
        else:
            assert report.output.is_file(), name
            done += 1
    return done, told


def test_portraits_through_the_page(inputs: Path, studio: Studio) -> None:
    driver = Path(shutil.copy(inputs / "driver.png", studio.workspace.root / "driver.png"))
    done, told = try_out(studio, dict(list(portraits().items())[::4]), None, driver)
    assert done > 0 and told > 20


def test_drivers_through_the_page(inputs: Path, studio: Studio, tmp_path: Path) -> None:
    videos = Videos(tmp_path)
    portrait = Path(shutil.copy(inputs / "portrait.png", studio.workspace.root / "portrait.png"))
    done, told = try_out(studio, dict(list(drivers(videos).items())[::4]), portrait, None)
    assert done > 0 and told > 10
