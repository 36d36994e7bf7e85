"""What goes out beside the package: citation, container, hosted demo, notebook."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
import types
import urllib.request
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs_blocks import ROOT, check_mien
from mien.jobs.demo import FOLDER
from mien.media import read_video, write_video

NOTEBOOK = ROOT / "integrations" / "notebook" / "mien.ipynb"
SPACE = ROOT / "integrations" / "space"
PAPERS = {"https://arxiv.org/abs/2403.15931": 6, "https://arxiv.org/abs/2512.15524": 6}  # and how many authors


def test_both_papers_are_cited() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert told["cff-version"] == "1.2.0" and told["license"] == "Apache-2.0" and told["message"] and told["authors"]
    assert {paper["url"]: len(paper["authors"]) for paper in told["references"]} == PAPERS
    assert all(person.keys() == {"family-names", "given-names"} for p in told["references"] for person in p["authors"])


def test_every_cell_of_the_comparison_has_its_columns_source() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Beside others")[2].partition("\n## ")[0]
    table, _, sources = page.partition("Sources:")
    listed = set(re.findall(r"(?:^- |; )([mxlp]\d) ", sources.replace("\n  ", " "), re.MULTILINE))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    assert [name.split()[0][0].lower() for name in rows[0][1:]] == ["m", "x", "l", "p"] and len(rows) > 6
    marks = [[re.search(r"\(([mxlp]\d)\)$", cell) for cell in row[1:]] for row in rows[2:]]
    for row in marks:
        assert [mark and mark[1][0] for mark in row] == ["m", "x", "l", "p"]
    assert {mark[1] for row in marks for mark in row if mark} == listed


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: the word and what follows it."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def kept_by_dockerignore(path: str) -> bool:
    """The last pattern that holds decides, as docker reads it."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!")
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        if line and not line.startswith("#") and any(fnmatch(one, pattern) for one in above):
            kept = line.startswith("!")
    return kept


def test_the_image_copies_what_is_there_and_starts_a_command_that_is_there() -> None:
    known = dict(instructions())
    for word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            for source in shlex.split(rest)[:-1]:
                assert (ROOT / source).exists() and kept_by_dockerignore(source), source
    assert not kept_by_dockerignore("tests/test_release.py") and not kept_by_dockerignore("docs/pictures/demo.jpg")
    assert json.loads(known["ENTRYPOINT"]) == ["mien"]
    check_mien(json.loads(known["CMD"]))
    assert known["USER"] == "1000"  # by number, so that hosts that forbid root can tell
    pinned = re.search(r"^torch==[^ ;]+", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned, "the image's RUN takes torch's version from this line"


@pytest.mark.slow
def test_the_hosted_demo_opens_and_its_card_names_the_version_that_is_tested() -> None:
    gradio = pytest.importorskip("gradio", exc_type=ImportError)
    main, options = (runpy.run_path(str(SPACE / "app.py"))[name] for name in ("main", "OPTIONS"))
    assert options.port == 7860 and options.clip_seconds <= 15
    page = main(type(options)(port=0, device="cpu"))
    try:
        with urllib.request.urlopen(page.url, timeout=60) as answer:
            assert answer.status == 200 and b"Mien" in answer.read()
    finally:
        page.close()
    told = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert told["sdk"] == "gradio" and (SPACE / told["app_file"]).is_file() and told["license"] == "apache-2.0"
    pinned = re.search(r"^gradio==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None and told["sdk_version"] == pinned[1], gradio.__version__


class Shown:
    """Stands in for what IPython shows: the files it was given."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def module(self) -> Any:
        made = types.ModuleType("IPython.display")
        made.Video = made.Image = lambda path, **_: self.paths.append(Path(path))  # type: ignore[attr-defined]
        made.display = lambda _: None  # type: ignore[attr-defined]
        return made


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    monkeypatch.setitem(sys.modules, "IPython.display", shown.module())
    monkeypatch.chdir(tmp_path)
    clip = write_video(tmp_path / "clip.mp4", list(islice(iter(read_video(FOLDER / "driver.mp4")), 2)), 25)
    space: dict[str, Any] = {}
    for number, cell in enumerate(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]):
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "install" not in tags:
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), space)
        if "parameters" in tags:
            space |= {"DRIVER": clip, "DEVICE": "cpu"}
    assert [path.name for path in shown.paths] == ["animated.preview.mp4", "calm.mp4", "apart.mp4", "smiling.png"]
    assert all(path.stat().st_size > 1000 for path in shown.paths)


def test_the_notebook_is_valid_and_holds_no_output() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)
