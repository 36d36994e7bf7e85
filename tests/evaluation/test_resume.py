"""Whole runs: what is written, that a killed run gives the same report, and that changed inputs are scored anew."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation_samples import SIDE, make_benchmark
from mien.errors import InputError
from mien.evaluation import systems
from mien.evaluation.benchmark import read_benchmark
from mien.evaluation.footage import load_footage
from mien.evaluation.runs import find_runs, read_run
from mien.evaluation.scoring import Scorer
from mien.jobs import evaluate as job
from mien.jobs.evaluate import evaluate, report
from mien.jobs.evaluate_options import PREDICTIONS, EvaluateOptions, SystemSpec
from mien.jobs.run.progress import Silent
from mien.media import write_video
from samples import DrawnFaceReader

pytest.importorskip("torchmetrics")
SPECS = tuple(SystemSpec(kind, kind) for kind in ("copy-source", "copy-driver", "ground-truth"))
METRICS = ("l1", "psnr", "ssim", "eyes_l1", "mouth_l1", "sharpness", "aed", "apd", "motion", "jitter", "found")


@pytest.fixture(autouse=True)
def _drawn_faces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Faces are read by the drawn reader, in this process."""
    monkeypatch.setattr(job, "Scorer", functools.partial(Scorer, reader=DrawnFaceReader()))
    monkeypatch.setattr(job, "unavailable", lambda _: {})
    for kept in (job._SYSTEMS, job._SCORERS):
        kept.clear()
    yield
    for kept in (job._SYSTEMS, job._SCORERS):
        kept.clear()


def run(bench: Path, out: Path, specs: tuple[SystemSpec, ...] = SPECS, **more: Any) -> Any:
    return evaluate(EvaluateOptions(bench, out, specs, **{"metrics": METRICS, **more}), Silent())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_benchmark(tmp_path_factory.mktemp("bench"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.targets: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        told = dict(attrs)
        self.sources += [value for key in ("src", "href") if (value := told.get(key)) and tag != "a"]
        if told.get("id"):
            self.targets.add(str(told["id"]))
        if tag == "a":
            self.links.add(str(told.get("href")).removeprefix("#"))


def test_both_ends_of_every_scale(bench: Path, tmp_path: Path) -> None:
    done = run(bench, tmp_path)
    assert not done.outcome.failed and len(done.outcome.done) == 4 + 3 + 2
    source, driver, ground_truth = (read_run(tmp_path / spec.folder) for spec in SPECS)

    def value(of: Any, protocol: str, key: str) -> float | None:
        return of.figure(protocol, key).value

    for protocol in ("self", "cross"):
        assert value(ground_truth, protocol, "l1") == 0
        assert value(ground_truth, protocol, "ssim") == pytest.approx(1, abs=1e-4)
        assert value(ground_truth, protocol, "psnr") == 100 and value(ground_truth, protocol, "mouth_l1") == 0
        assert value(driver, protocol, "aed") == 0 and value(driver, protocol, "apd") == 0
        assert value(driver, protocol, "jitter") == pytest.approx(1)
        assert (value(source, protocol, "aed") or 0) > 0 and (value(source, protocol, "l1") or 0) > 0
        assert value(source, protocol, "jitter") == 0
    assert value(source, "cross", "sharpness") == pytest.approx(1)
    assert source.figure("disentangled", "aed").value is not None
    for one in (driver, ground_truth):
        assert one.figure("disentangled", "aed").kind == "inapplicable"
    assert ground_truth.figure("cross", "aed").clips == 1, "only one cross pair has a ground truth"
    assert len(read_run(tmp_path / "copy-source").of("self")[0].frames["l1"]) == 3, "the reference is not scored"


def test_the_page_needs_nothing_else(bench: Path, tmp_path: Path) -> None:
    done = run(bench, tmp_path)
    page = _Page()
    text = done.written[-1].read_text(encoding="utf-8")
    page.feed(text)
    assert {"table", "svg", "video", "img", "pre", "nav"} <= set(page.tags)
    assert page.sources and all(source.startswith("data:") for source in page.sources)
    assert page.links <= page.targets
    assert page.tags.count("video") == 9
    for part in ("copy-source", "published", "measured here", "seed", "torch", "cross-a"):
        assert part in text


def test_a_killed_run_gives_the_same_report(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(bench, tmp_path / "whole")
    answer, calls = systems.answer, iter(range(100))

    def killed(*given: Any) -> Any:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return answer(*given)

    monkeypatch.setattr(systems, "answer", killed)
    with pytest.raises(KeyboardInterrupt):
        run(bench, tmp_path / "broken")
    half = tmp_path / "broken" / "copy-source" / "frames" / "half"  # as when the machine goes down amid a clip
    half.mkdir(parents=True)
    (tmp_path / "broken" / "copy-source" / "scores" / "self-a.json").write_text('{"id": ')
    (tmp_path / "broken" / "copy-source" / "scores" / ".self-b.0123456789ab.part.json").write_text("{")
    shutil.rmtree(half)
    monkeypatch.setattr(systems, "answer", answer)
    run(bench, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_what_is_done_is_not_done_again(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(bench, tmp_path)

    def never(*_: Any) -> Any:
        raise AssertionError("asked again")

    monkeypatch.setattr(systems, "answer", never)
    monkeypatch.setattr(Scorer, "score", never)
    assert not run(bench, tmp_path).outcome.failed


def test_changed_inputs_are_scored_anew(tmp_path: Path) -> None:
    bench = make_benchmark(tmp_path / "bench")
    specs = SPECS[:1]
    run(bench, tmp_path / "out", specs)
    before = read_run(tmp_path / "out" / "copy-source")
    shutil.copy(tmp_path / "bench" / "b" / "3.png", tmp_path / "bench" / "a" / "1.png")
    run(bench, tmp_path / "out", specs)
    after = read_run(tmp_path / "out" / "copy-source")
    changed = {a.id for a, b in zip(before.clips, after.clips, strict=True) if a.answer != b.answer}
    assert changed == {"self-a", "cross-a", "apart-ab"}
    run(bench, tmp_path / "out", specs, metrics=("l1", "aed"))
    fewer = read_run(tmp_path / "out" / "copy-source")
    assert set(fewer.clips[0].values) == {"l1", "aed"} and fewer.clips[0].answer == after.clips[0].answer


def test_files_of_anyone_are_scored(bench: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    pairs = read_benchmark(bench).pairs
    for pair in pairs[:2]:
        write_video(theirs / f"{pair.id}.mp4", list(load_footage(pair, 96).case.driver), 25, quality=8)
    write_video(theirs / f"{pairs[2].id}.mp4", list(load_footage(pairs[2], SIDE).case.driver[:2]), 25)
    done = run(bench, tmp_path / "out", (SystemSpec("DaGAN", PREDICTIONS, str(theirs)),))
    assert "has 2 frames, but pair cross-b has 4" in done.outcome.failed["DaGAN/cross-b"]
    assert "no apart-ab.mp4" in done.outcome.failed["DaGAN/apart-ab"]
    (scored,) = find_runs([tmp_path / "out"])
    assert [clip.id for clip in scored.clips] == ["self-a", "cross-a"]
    psnr = scored.figure("self", "psnr").value
    assert psnr is not None and 20 < psnr < 60, "larger frames are brought to the benchmark's side"
    # the frames of a run are predictions themselves
    again = run(bench, tmp_path / "again", (SystemSpec("again", PREDICTIONS, str(tmp_path / "out/DaGAN/frames")),))
    assert find_runs([tmp_path / "again"])[0].figure("self", "psnr").value == psnr
    assert set(again.outcome.failed) == {"again/cross-b", "again/apart-ab"}


def test_several_runs_in_one_report(bench: Path, tmp_path: Path) -> None:
    for spec in SPECS[:2]:
        run(bench, tmp_path / spec.name, (spec,))
    written = report([tmp_path / "copy-source", tmp_path / "copy-driver" / "copy-driver"], tmp_path / "all", None)
    table = json.loads((tmp_path / "all" / "table2.json").read_text())
    assert [row["method"] for row in table["rows"]][-2:] == ["copy-source", "copy-driver"]
    assert written[-1] == tmp_path / "all" / "report.html"
    with pytest.raises(InputError, match="holds no run"):
        report([tmp_path / "nothing"], tmp_path / "all", None)


def test_512_pixels_too(bench: Path, tmp_path: Path) -> None:
    run(bench, tmp_path, SPECS[:1], side=128)
    made = read_run(tmp_path / "copy-source")
    assert made.benchmark["side"] == 128
    from mien.media import read_image

    assert read_image(tmp_path / "copy-source" / "frames" / "self-a" / "00000.png").shape == (128, 128, 3)


def test_workers_give_what_one_process_gives(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # workers are processes of their own: no drawn reader there
    for name, workers in (("one", 1), ("two", 2)):
        run(bench, tmp_path / name, SPECS[:1], metrics=("l1", "psnr", "ssim"), workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_systems_must_be_told_apart(bench: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two systems are called"):
        EvaluateOptions(bench, tmp_path, (SPECS[0], SPECS[0]))
    with pytest.raises(InputError, match="nobody is to be scored"):
        EvaluateOptions(bench, tmp_path, ())
    with pytest.raises(InputError, match="is no folder"):
        EvaluateOptions(bench, tmp_path, SPECS, weights=(tmp_path / "none",))


def test_a_wrong_answer_is_a_fault(bench: Path) -> None:
    footage = load_footage(read_benchmark(bench).pairs[0], SIDE)

    class Short(systems.CopySource):
        def animate(self, case: Any) -> Any:
            return np.zeros((1, SIDE, SIDE, 3), np.uint8)

    with pytest.raises(ValueError, match="copy-source gave uint8"):
        systems.answer(Short(), footage)
