"""`mien live` and `mien benchmark` on the command line: what they are asked for arrives, and what they print."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.jobs.benchmark import BenchmarkReport
from mien.media import write_image
from samples import draw_face

RUN = CliRunner()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What pages are opened with; they end at once."""
    seen: list[Any] = []

    def open_page(options: Any, *, live: Any) -> Any:
        def close() -> None:
            seen.append("closed")
            if live.record is not None:
                live.record.write_bytes(b"1")

        seen.append((options, live))
        return SimpleNamespace(url="http://127.0.0.1:1/", wait=lambda: None, close=close)

    monkeypatch.setattr("mien.web.serve.open_page", open_page)
    monkeypatch.setattr("mien.cli.live.webbrowser.open", lambda address: seen.append(address))
    return seen


def test_live_opens_its_page_with_what_was_asked_for(opened: list[Any], tmp_path: Path) -> None:
    portrait, record = write_image(tmp_path / "me.png", draw_face()), tmp_path / "shown.mp4"
    words = ["live", "-s", str(portrait), "--smile", "0.4", "--eyes-gain", "2", "--no-mirror", "--record", str(record)]
    done = RUN.invoke(app, [*words, "-p", "0", "--absolute", "--no-watermark"])
    assert done.output.splitlines() == ["http://127.0.0.1:1/live/", str(record)], done.output
    (served, live), address, closed = opened
    assert (address, closed) == ("http://127.0.0.1:1/live/", "closed")
    assert (served.host, served.port, served.browser) == ("127.0.0.1", 0, False)
    assert (live.portrait, live.mirror, live.record, live.watermark) == (portrait, False, record, False)
    assert (live.change.smile, live.config.eyes_gain, live.config.relative) == (0.4, 2, False)


def test_live_leaves_the_browser_alone_if_asked(opened: list[Any]) -> None:
    done = RUN.invoke(app, ["live", "-s", "me.png", "--no-browser"])
    assert done.exit_code == 0 and len(opened) == 2 and opened[0][1].config.relative


def test_live_without_its_packages_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gradio", None)
    done = RUN.invoke(app, ["live", "-s", "me.png", "-p", "0"])
    assert done.exit_code == 2 and "pip install 'mien[web]'" in done.output and done.output.count("\n") == 1


def test_benchmark_prints_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(options: Any, progress: Any) -> BenchmarkReport:
        asked.append(options)
        return BenchmarkReport({"on": "a machine"}, (("face reader", "9 a second", "60 frames"),))

    monkeypatch.setattr("mien.jobs.benchmark.benchmark", run)
    done = RUN.invoke(app, ["benchmark", "--frames", "5", "--repeats", "2", "--no-start", "--device", "cpu"])
    assert done.output.endswith("| face reader | 9 a second | 60 frames |\n")
    assert (asked[0].frames, asked[0].repeats, asked[0].start, asked[0].device) == (5, 2, False, "cpu")
