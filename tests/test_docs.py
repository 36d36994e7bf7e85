"""The documentation does what it says: its code runs, its commands, links and options exist.

Shell blocks are run command by command in this process, in a folder where small files stand in for the names they use;
Python blocks with tiny models. What cannot run here says why in its page (see docs_blocks.py) and is parsed only.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tools.option_tables import current, option_table
from typer.main import get_command

from dex_jobs import dex_model
from docs_blocks import LANGUAGES, PAGES, ROOT, Block, all_blocks, check_mien, check_other, command_lines, mien_words
from mien.cli.app import app
from mien.media import read_video, write_image, write_video
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import DrawnFaceReader, draw_face, inputs, job_pipeline, talking_frames
from tiny_dex import tiny_dex_pipeline
from window_faces import window_pipeline

pytestmark = pytest.mark.slow

__all__ = ["dex_model", "inputs"]  # fixtures

DEMO = ROOT / "src" / "mien" / "demo"
FIRST_PAGES = ("README.md", "start.md", "python.md")
FRAMES = 2  # of what stands in for drivers


def _named(blocks: list[Block]) -> dict[str, Any]:
    return {"argvalues": blocks, "ids": [block.name for block in blocks]}


SHELL = [block for block in all_blocks() if block.language == "sh"]
# what two pages show in the same words is run once
RUN = list({block.code: block for block in reversed(SHELL) if block.excuse is None}.values())[::-1]
PYTHON = [block for block in all_blocks() if block.language == "python"]


# -- what stands in for the names that the pages use ---------------------------------------------------------------


@cache
def _clip(seed: int) -> list[np.ndarray]:
    return list(islice(iter(read_video(DEMO / "driver.mp4")), seed, seed + FRAMES))


def _driver(path: Path) -> None:
    write_video(path, _clip(0), 25, audio_from=DEMO / "driver.mp4")


def _frames(path: Path) -> None:
    path.mkdir()
    for index, frame in enumerate(_clip(0)):
        write_image(path / f"{index}.png", frame)


def _pictures(path: Path) -> None:
    path.mkdir()
    for number in (1, 2):
        shutil.copy(DEMO / f"portrait_{number}.png", path)


def _portrait(number: int) -> Callable[[Path], None]:
    def copy(path: Path) -> None:
        from mien.media import read_image

        write_image(path, read_image(DEMO / f"portrait_{number}.png"))

    return copy


def _one_of(make: Callable[[Path], None], name: str) -> Callable[[Path], None]:
    def folder(path: Path) -> None:
        path.mkdir()
        make(path / name)

    return folder


STAND_INS: dict[str, Callable[[Path], None]] = {
    "portrait.jpg": _portrait(1),
    "portrait.png": _portrait(1),
    "a.jpg": _portrait(1),
    "b.jpg": _portrait(1),
    "P.png": _portrait(1),
    "SMILE.jpg": _portrait(2),
    "smile.jpg": _portrait(2),
    "driver.mp4": _driver,
    "D.mp4": _driver,
    "A.mp4": _driver,
    "B.mp4": _driver,
    "frames": _frames,
    "pictures": _pictures,
    "anna.png": _portrait(1),
    "anna_2.png": _portrait(1),
    "bela.jpg": _portrait(2),
    "talk.mp4": _driver,
    "PEOPLE": _one_of(_portrait(1), "anna.png"),
    "DRIVERS": _one_of(_driver, "talk.mp4"),
}

# what commands need beyond the package's own requirements
NEEDS = {"mien evaluate run": "torchmetrics.image", "mien train": "accelerate"}


def lay_out(block: Block, desk: Path) -> None:
    """Put what a block names into the folder: stand-ins, and tables that its page shows, the nearest before it."""
    text = block.code
    for name in re.findall(r"[\w.]+\.(?:csv|json|yaml)\b", block.code):
        language = name.rpartition(".")[2]
        shown = [b for b in all_blocks() if b.page == block.page and b.language == language]
        if shown:
            nearest = min(shown, key=lambda b: (b.line > block.line, abs(b.line - block.line)))
            (desk / name).write_text(nearest.code, encoding="utf-8")
            text += nearest.code
    for name, make in STAND_INS.items():
        if re.search(rf"(?<![\w./]){re.escape(name)}(?!\w)", text):
            make(desk / name)


@cache
def _nano() -> XPortraitPipeline:
    return XPortraitPipeline.from_pretrained("nano")


@pytest.fixture
def desk(request: pytest.FixtureRequest, dex_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that shell blocks run in. The model is nano on the first pages, and
    one in small on those about options.
    """
    load = XPortraitPipeline.from_pretrained.__func__  # type: ignore[attr-defined]
    block = request.node.callspec.params["block"]
    nano = _nano() if block.page.name in FIRST_PAGES else window_pipeline()
    monkeypatch.setattr(
        XPortraitPipeline,
        "from_pretrained",
        classmethod(lambda cls, name, **more: nano if str(name) == "nano" else load(cls, name, **more)),
    )
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    small = tmp_path / "demo"
    small.mkdir()
    shutil.copy(DEMO / "portrait_1.png", small)
    for name in ("driver.mp4", "pose.mp4"):
        _driver(small / name)
    monkeypatch.setattr("mien.jobs.demo.FOLDER", small)
    folder = tmp_path / "desk"
    folder.mkdir()
    shutil.copytree(dex_model, folder / "DIR")
    monkeypatch.chdir(folder)
    return folder


# -- shell ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", **_named(RUN))
def test_shell_blocks_run(block: Block, desk: Path) -> None:
    commands = list(command_lines(block.code))
    lay_out(block, desk)
    for word, package in NEEDS.items():
        if word in block.code:
            pytest.importorskip(package, reason=f"needs {package}, an extra", exc_type=ImportError)
    for words in commands:
        wanted = mien_words(words)
        if words[0] == "make":
            check_other(words)
            wanted = ["demo"] if words[1:] == ["demo"] else None
        assert wanted is not None or words[0] == "make", f"{words[0]} is not run: mark the block, or leave it out"
        if wanted is not None and wanted[0] in ("serve", "live"):
            check_mien(wanted)  # they run until they are stopped: tests/web has them
        elif wanted is not None:
            assert app(wanted, standalone_mode=False) in (None, 0), words
            for flag in ("-o", "--output"):
                if flag in wanted and "--dry-run" not in wanted:
                    assert (desk / wanted[wanted.index(flag) + 1]).exists(), words


@pytest.mark.parametrize("block", **_named(SHELL))
def test_commands_can_be_parsed(block: Block) -> None:
    for words in command_lines(block.code):
        wanted = mien_words(words)
        if wanted is not None:
            check_mien(wanted)
        if wanted is None or words[0] == "accelerate":
            check_other(words)


def test_an_invented_command_or_option_is_noticed() -> None:
    for line in ("animat -s a -d b", "animate -s a -d b --fancy", "data avatrs", "train x-portrait/motion --stesp 3"):
        with pytest.raises(Exception):  # noqa: B017 - click's own kinds, which typer may have copied
            check_mien(line.split())
    for line in (
        "make supper",
        "pip install 'mien[nothing]'",
        "python -m mien.nothing",
        "python nothing.py",
        "sudo rm",
    ):
        (words,) = command_lines(line)
        with pytest.raises(ValueError):
            check_other(words)


def test_command_lines_are_read_as_a_shell_does() -> None:
    lines = list(command_lines('L="a b"  # c\nX=1 $L \\\n    --d "e f"\n\n# g\n'))
    assert lines == [["a", "b", "--d", "e f"]]
    assert mien_words(["accelerate", "launch", "-m", "mien", "train"]) == ["train"]
    assert mien_words(["python", "-m", "mien.training.registry"]) is None


def test_every_block_has_a_language_and_every_excuse_a_block() -> None:
    for block in all_blocks():
        assert block.language in LANGUAGES, f"{block.name}: {block.language!r} is none of {sorted(LANGUAGES)}"
        if block.language == "json":
            json.loads(block.code)
        if block.language == "csv":
            header, *rows = csv.reader(io.StringIO(block.code))
            assert rows and all(len(row) == len(header) for row in rows), block.name
    marks = sum(page.read_text(encoding="utf-8").count("<!-- not run") for page in PAGES)
    assert marks == sum(block.excuse is not None for block in all_blocks())


# -- Python --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", **_named([block for block in PYTHON if block.excuse is None]))
def test_python_blocks_run(block: Block, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # stills are edited and cameras followed by what the tiny model has none of
    own = any(word in block.code for word in ("still_editor", "LiveAnimator"))
    reader, pipe = DrawnFaceReader(), _nano() if own else job_pipeline()
    monkeypatch.setattr("mien.load_face_reader", lambda *_, **__: reader, raising=False)
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: reader)
    monkeypatch.setattr("mien.jobs.animate.load_pipeline", lambda *_, **__: pipe)
    monkeypatch.setattr("mien.pipelines.x_portrait.XPortraitPipeline.from_pretrained", lambda _, **__: pipe)
    dex = "mien.pipelines.dex_portrait.DeXPortraitPipeline.from_pretrained"
    monkeypatch.setattr(dex, lambda _, **__: tiny_dex_pipeline())
    monkeypatch.chdir(tmp_path)
    for name in ("portrait.png", "driver.mp4"):
        shutil.copy(inputs / name, name)
    write_image("square_portrait.png", draw_face(64, 64))
    write_video("square_driver.mp4", talking_frames(3, 64, 64), 25)
    before = set(tmp_path.iterdir())
    space: dict[str, Any] = {}
    exec(compile(block.code, block.name, "exec"), space)
    made = {path.name for path in set(tmp_path.iterdir()) - before}
    assert made >= set(re.findall(r"(?:output=Path|write_video)\(\"([^\"]+)\"", block.code))


# -- the rest ------------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_sites_contents_once() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- .+: ([\w-]+\.md)$", site, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert set(linked) >= set(listed) - {"index.md"}


def test_every_command_is_on_the_page_of_commands() -> None:
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `mien (\w+)", page, re.MULTILINE))
    assert named == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_complaint_is_answered_by_a_test_or_a_command() -> None:
    page = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    themes = re.split(r"^### (\d+)\. .+$", page, flags=re.MULTILINE)[1:]
    assert [int(number) for number in themes[::2]] == list(range(1, 21))
    for number, text in zip(themes[::2], themes[1::2], strict=True):
        shown = text.partition("*Shown by*")[2]
        tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", shown)
        commands = re.findall(r"`(mien [^`]+|python [^`]+)`", shown)
        assert tests or commands, number
        for file, name in tests:
            assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)
        for command in commands:
            words = command.split()
            check_mien(words[1:]) if words[0] == "mien" else check_other(words)


def test_pictures_are_small() -> None:
    """The animated one of the first page has a limit of its own."""
    moving, still = [], []
    for path in (ROOT / "docs" / "pictures").iterdir():
        (moving if path.suffix in (".webp", ".gif") else still).append(path)
    assert len(moving) <= 1 and all(path.stat().st_size < 3_000_000 for path in moving)
    sizes = [path.stat().st_size for path in still]
    assert max(sizes) < 150_000 and sum(sizes) < 2_000_000


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_tables_of_options_are_those_of_the_code() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert current(text) == text, f"{page.name} is out of date: run python tools/option_tables.py"
    assert "`--eyes-gain`" in option_table("animate") and "`--workers`" in option_table("batch")
    with pytest.raises(KeyError):
        option_table("animat")


def test_there_are_few_pages() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"api.md"}
    assert len(pages) <= 14


def test_every_option_of_animate_is_explained_and_none_is_invented() -> None:
    """The page has `mien animate`, `mien edit` and `mien batch`, and names nothing that none of them knows."""
    page = (ROOT / "docs" / "animate.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(--?[a-z][a-z-]*)", page))
    known = {"--help", "-h"}
    for name in ("animate", "edit", "batch"):
        command = get_command(app).commands[name]  # type: ignore[attr-defined]
        options = {text for option in command.params for text in (*option.opts, *option.secondary_opts)}
        options = {text for text in options if text.startswith("-")}
        assert options - named <= {"-h", "--help"}, name
        known |= options
    assert named <= known


def test_the_drawn_face_is_read_where_it_was_drawn() -> None:
    """The reader of all tests of jobs: were it wrong, they would prove nothing."""
    face = DrawnFaceReader().read(draw_face(100, 80, (0.4, 0.5), 0.25))
    assert face is not None
    np.testing.assert_allclose(face.box, [20, 20, 60, 60], atol=1.5)
