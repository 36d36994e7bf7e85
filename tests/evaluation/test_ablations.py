"""Several seeds of each system against a baseline: intervals, directions, the manifest, and all in one command."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation_samples import make_benchmark
from mien.cli.app import app
from mien.errors import InputError
from mien.evaluation.ablations import TrainedSystem, compare, direction_cells
from mien.evaluation.benchmark import read_benchmark, write_benchmark
from mien.evaluation.manifest import read_manifest
from mien.evaluation.runs import ClipRecord, Run
from mien.evaluation.scoring import Scorer
from mien.evaluation.statistics import Figure, bootstrap, difference, seed_figure, verdict
from mien.evaluation.tables import LAYOUTS, make_table
from mien.jobs import evaluate as job
from samples import DrawnFaceReader, job_pipeline

RNG = np.random.default_rng


def crossed(seeds: int, clips: int, spread: tuple[float, float], mean: float = 3.0, start: int = 0) -> np.ndarray:
    """Numbers [seeds, clips] that are a mean, an effect of the seed and one of the clip."""
    rng = RNG(start)
    return mean + rng.normal(0, spread[0], (seeds, 1)) + rng.normal(0, spread[1], (1, clips))


def test_intervals_hold_what_seeds_and_clips_do() -> None:
    values = crossed(30, 40, (1.0, 1.0))
    figure = seed_figure("aed", values, "x")
    assert figure.low is not None and figure.high is not None and figure.value == pytest.approx(values.mean())
    by_seed, by_clip = values.mean(1), values.mean(0)
    # the variance of a mean over crossed effects is the sum of theirs
    width = 2 * 1.96 * np.sqrt(by_seed.var() / 30 + by_clip.var() / 40)
    assert figure.high - figure.low == pytest.approx(width, rel=0.1)
    low, high = bootstrap(list(by_clip), "x") or (0, 0)
    assert high - low < 0.85 * (figure.high - figure.low), "clips alone do not tell how another training comes out"
    assert seed_figure("aed", values, "x") == figure != seed_figure("aed", values, "y")
    assert (figure.seeds, figure.clips) == (30, 40)


def test_one_seed_is_the_interval_over_clips() -> None:
    values = crossed(1, 25, (0.0, 1.0))
    figure = seed_figure("aed", values, "x")
    low, high = bootstrap(list(values[0]), "other draws") or (0, 0)
    assert figure.low == pytest.approx(low, abs=0.05) and figure.high == pytest.approx(high, abs=0.05)


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    found = [seed_figure("aed", crossed(8, 20, (0.5, 1.0), start=start), "x") for start in range(100)]
    held = sum((f.low or 9) <= 3.0 <= (f.high or -9) for f in found)
    assert 84 <= held <= 100  # of 100 at 95 %; percentiles of eight seeds are a little narrow


def test_an_easy_clip_cancels_out_of_a_difference() -> None:
    clips = RNG(1).normal(0, 5.0, (1, 30))
    first, second = (clips + mean + RNG(seed).normal(0, 0.1, (3, 30)) for seed, mean in ((2, 1.2), (3, 1.0)))
    found = difference("aed", first, second, "x")
    assert found.value == pytest.approx(0.2, abs=0.05)
    assert found.low is not None and found.low > 0.1, "though a clip differs from another 25 times as much"
    assert difference("aed", second, first, "x").value == pytest.approx(-(found.value or 0))
    assert difference("aed", first[:, :1], second[:, :1], "x").low is None, "one clip tells nothing of others"


def test_a_lucky_seed_is_not_a_difference() -> None:
    """Each clip is 0.2 above the baseline's, but so is another training of the baseline."""
    seeds, luck = RNG(4).normal(0, 0.02, (3, 20)), np.array([[0.0], [0.6], [0.0]])
    found = difference("aed", seeds + luck, RNG(5).normal(0, 0.02, (3, 20)), "x")
    assert found.value == pytest.approx(0.2, abs=0.02) and found.low is not None and found.low <= 0


@pytest.mark.parametrize(
    ("published", "low", "high", "says"),
    [
        (-0.04, -0.03, -0.01, "agrees"),
        (-0.04, -0.03, 0.01, "no difference"),
        (-0.04, 0.01, 0.03, "differs"),
        (0.04, 0.01, 0.03, "agrees"),
        (0.0, -0.01, 0.01, "agrees"),
        (0.0, 0.01, 0.02, "differs"),
        (None, 0.01, 0.02, "apart"),
        (None, -0.01, 0.02, "no difference"),
        (0.04, None, None, "unknown"),
    ],
)
def test_verdicts_come_from_intervals(
    published: float | None, low: float | None, high: float | None, says: str
) -> None:
    value = None if low is None or high is None else (low + high) / 2
    assert verdict(published, Figure(value, "measured", "aed", low, high)) == says


def run_of(name: str, seed: int, identity: float, clips: int = 12) -> Run:
    rng = RNG(seed)
    records = tuple(
        ClipRecord(
            f"c{n}", "cross", "", "",
            {"identity_retail": identity + 0.01 * n + float(rng.normal(0, 0.005)), "aed": 0.07, "pose": None},
            {}, {"pose": "no face was found"},
        )
        for n in range(clips)
    )  # fmt: skip
    lacking = {"identity_arcface": "needs w600k_r50.onnx: unpack it", "identity_sface": "needs sface"}
    return Run(name, Path("nowhere"), {}, {"name": "b", "side": 256}, {}, lacking, {}, (), records)


def test_the_papers_direction_stands_beside_ours() -> None:
    full = TrainedSystem("full model", tuple(run_of(f"full {n}", n, 0.6) for n in range(3)))
    worse = TrainedSystem("(c) w/o scaling", tuple(run_of(f"c {n}", 10 + n, 0.5) for n in range(3)))
    better = TrainedSystem("(a) w/o cross-id training", (run_of("a", 20, 0.7),))
    ours = TrainedSystem("landmarks", (run_of("l", 30, 0.6),))
    found = compare("heads", LAYOUTS["table2"], (full, worse, better, ours), "full model")
    cells = {(one.system, one.column.key): one for one in found.directions}
    assert len(cells) == 9
    scaling = cells["(c) w/o scaling", "identity"]
    assert scaling.published == pytest.approx(0.658 - 0.689) and scaling.measured.value == pytest.approx(-0.1, abs=0.01)
    assert scaling.verdict == "agrees" and scaling.measured.metric == "identity_retail"
    assert cells["(a) w/o cross-id training", "identity"].verdict == "differs"
    assert cells["(c) w/o scaling", "aed"].verdict == "agrees", "the paper prints the same figure twice, and so do we"
    assert cells["(a) w/o cross-id training", "aed"].verdict == "no difference"
    assert (
        cells["landmarks", "identity"].published is None and cells["landmarks", "identity"].verdict == "no difference"
    )
    pose = direction_cells(cells["(c) w/o scaling", "pose"])
    assert pose[3] == "not computed: no face was found" and pose[4] == "unknown"
    assert found.summary == "6 differences that the paper prints: 2 agrees, 1 no difference, 1 differs, 2 unknown"


def test_several_seeds_are_one_row() -> None:
    system = TrainedSystem("full model", tuple(run_of(f"full {n}", n, 0.5 + 0.1 * n) for n in range(3)))
    row = make_table(LAYOUTS["table2"], [system]).rows[-1]
    assert row.label == "full model" and row.figures[0].seeds == 3
    assert row.figures[0].value == pytest.approx(0.655, abs=0.01)
    alone = TrainedSystem("one", (system.runs[1],)).figure("cross", "identity_retail")
    assert row.figures[0].low is not None and alone.low is not None and row.figures[0].low < alone.low - 0.03
    gone = run_of("gone", 5, 0.5, clips=4)
    fewer = TrainedSystem("fewer", (*system.runs, gone))
    assert fewer.figure("cross", "identity_retail").clips == 4, "a clip counts where every seed has a number"


@pytest.fixture
def _drawn_faces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())
    monkeypatch.setattr(job, "Scorer", functools.partial(Scorer, reader=DrawnFaceReader()))
    for kept in (job._SYSTEMS, job._SCORERS):
        kept.clear()
    yield
    for kept in (job._SYSTEMS, job._SCORERS):
        kept.clear()


MANIFEST = """
title: Tiny ablations
budget: none, random weights
benchmarks: {drawn: bench/bench.json}
metrics: [aed, pose, l1, identity_sface]
comparisons:
  - table: table2
    kind: x-portrait
    baseline: full model
    systems:
      full model: [full/0, full/1]
      (b) w/o local control: [none/0, none/1]
      landmarks instead: {kind: landmarks, models: [full/0]}
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablations")
    path = make_benchmark(folder / "bench", count=2)
    whole = read_benchmark(path)
    write_benchmark(path, replace(whole, pairs=tuple(pair for pair in whole.pairs if pair.protocol == "cross")))
    for name in ("full/0", "full/1", "none/0", "none/1"):
        job_pipeline(seed=len(name) + int(name[-1])).save_pretrained(folder / name)
    (folder / "manifest.yaml").write_text(MANIFEST, encoding="utf-8")
    return folder / "manifest.yaml"


@pytest.mark.usefixtures("_drawn_faces")
def test_one_command_makes_the_whole_table(manifest: Path, tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["evaluate", "ablations", str(manifest), "-o", str(tmp_path)])
    assert made.exit_code == 0, made.output
    page = (tmp_path / "ablations.html").read_text(encoding="utf-8")
    for part in (
        "Tiny ablations",
        "random weights",
        "the paper&#x27;s direction",
        "Worst clip",
        "seed 1",
        "networks of",
    ):
        assert part in page, part
    assert 'src="data:image/webp' in page and 'src="http' not in page
    told = json.loads((tmp_path / "drawn" / "ablations" / "table2-directions.json").read_text())
    cells = {(one["system"], one["key"]): one for one in told["directions"]}
    aed = cells["(b) w/o local control", "aed"]
    assert aed["published"] == pytest.approx(0.007) and aed["measured"]["seeds"] == 2
    assert aed["measured"]["low"] is not None and aed["verdict"] in ("agrees", "no difference", "differs")
    identity = cells["(b) w/o local control", "identity"]
    assert identity["measured"]["value"] is None and "sface" in identity["measured"]["why"]
    assert "identity_sface is not computed: needs" in made.stderr
    whole = json.loads((tmp_path / "drawn" / "ablations" / "table2-cross-directions.json").read_text())
    assert {one["key"] for one in whole["directions"]} == {"l1", "aed", "pose"}, "figures that the paper has not, too"
    assert {one["published"] for one in whole["directions"]} == {None}
    table = json.loads((tmp_path / "drawn" / "ablations" / "table2.json").read_text())
    assert [row["method"] for row in table["rows"]][-3:] == ["full model", "(b) w/o local control", "landmarks instead"]
    again = CliRunner().invoke(app, ["evaluate", "ablations", str(manifest), "-o", str(tmp_path)])
    assert again.exit_code == 0 and (tmp_path / "ablations.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("table: table2", "table: table9", "no table 'table9'"),
        ("baseline: full model", "baseline: nobody", "'nobody' is none of its systems"),
        ("none/1", "none/7", "is no folder"),
        ("bench/bench.json", "bench/gone.json", "is no file"),
        ("    kind: x-portrait\n", "", "no kind is given"),
        ("[full/0, full/1]", "[full/0, full/0]", "every one once"),
        ("budget:", "bugdet:", "'bugdet', which means nothing"),
        ("[aed,", "[beauty,", "no metric 'beauty'"),
        ("comparisons:", "comparisons: [", "cannot be read as YAML"),
        ("benchmarks: {drawn: bench/bench.json}", "benchmarks: {}", "names no benchmarks"),
    ],
)
def test_a_wrong_manifest_is_told_before_any_work(manifest: Path, before: str, after: str, says: str) -> None:
    wrong = manifest.with_name("wrong.yaml")
    assert before in MANIFEST
    wrong.write_text(MANIFEST.replace(before, after), encoding="utf-8")
    with pytest.raises(InputError, match=says) as told:
        read_manifest(wrong)
    assert "wrong.yaml" in str(told.value) or "no metric" in says
