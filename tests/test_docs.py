"""The documentation does what it says: its Python runs, its links and options exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from mien.cli.app import app
from mien.media import write_image, write_video
from samples import DrawnFaceReader, draw_face, inputs, job_pipeline, talking_frames

__all__ = ["inputs"]  # a fixture

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


PYTHON = [(page.name, block) for page in PAGES for block in blocks(page, "python")]


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{name}-{i}" for i, (name, _) in enumerate(PYTHON)])
def test_python_in_the_documentation_runs(
    page: str, code: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, pipe = DrawnFaceReader(), job_pipeline()
    monkeypatch.setattr("mien.load_face_reader", lambda *_, **__: reader, raising=False)
    monkeypatch.setattr("mien.jobs.animate.load_face_reader", lambda *_, **__: reader)
    monkeypatch.setattr("mien.jobs.animate.load_pipeline", lambda _: pipe)
    monkeypatch.setattr("mien.pipelines.x_portrait.XPortraitPipeline.from_pretrained", lambda _: pipe)
    monkeypatch.chdir(tmp_path)
    for name in ("portrait.png", "driver.mp4"):
        shutil.copy(inputs / name, name)
    write_image("square_portrait.png", draw_face(64, 64))
    write_video("square_driver.mp4", talking_frames(3, 64, 64), 25)
    before = set(tmp_path.iterdir())
    space: dict[str, Any] = {}
    exec(compile(code, page, "exec"), space)
    made = {path.name for path in set(tmp_path.iterdir()) - before}
    assert made >= set(re.findall(r"(?:output=Path|write_video)\(\"([^\"]+)\"", code))


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_option_of_animate_is_explained_and_none_is_invented() -> None:
    command = get_command(app).commands["animate"]  # type: ignore[attr-defined]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    page = (ROOT / "docs" / "animate.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(--?[a-z][a-z-]*)", page))
    assert named <= known
    silent = {"-h", "--help", "--driving", "--align", "--paste-back"}  # aliases and defaults
    assert known - named <= silent


def test_commands_in_the_documentation_can_be_parsed() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    planned = {"convert", "parity"} - set(commands)
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in re.findall(r"^(?:\.venv/bin/)?mien +(.*)$", block, re.MULTILINE):
                words = line.split("#")[0].split()
                if words[0] in planned or "[" in line:  # not there yet; a synopsis
                    continue
                commands[words[0]].make_context(words[0], words[1:])


def test_the_drawn_face_is_read_where_it_was_drawn() -> None:
    """The reader of all tests of jobs: were it wrong, they would prove nothing."""
    face = DrawnFaceReader().read(draw_face(100, 80, (0.4, 0.5), 0.25))
    assert face is not None
    np.testing.assert_allclose(face.box, [20, 20, 60, 60], atol=1.5)
