from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError
from mien.evaluation import published
from mien.evaluation.registry import METRICS, chosen_metrics
from mien.evaluation.runs import ClipRecord, Run, write_record
from mien.evaluation.scoring import NO_GROUND_TRUTH, ClipScore
from mien.evaluation.statistics import bootstrap, clip_figure, set_figure
from mien.evaluation.tables import LAYOUTS, make_table, to_content, to_markdown, write_table

LACKING = "needs alexnet.pth: fetch it"


def run_of(name: str, folder: Path = Path("nowhere"), gain: float = 1.0) -> Run:
    values = {"l1": 0.1 * gain, "ssim": 0.5, "psnr": 20.0, "identity_retail": 0.7, "aed": 0.05, "pose": 4.0, "apd": 0.2}
    clips = []
    for protocol in ("self", "cross"):
        for index in range(3):
            told = {key: value * (1 + 0.1 * index) for key, value in values.items()}
            absent = {} if protocol == "self" else {"l1": NO_GROUND_TRUTH, "fid": NO_GROUND_TRUTH}
            told = told if protocol == "self" else {k: v for k, v in told.items() if k != "l1"}
            clips.append(ClipRecord(f"{protocol}-{index}", protocol, "", "", dict(told), {}, absent))
    lacking = {"lpips": LACKING, "hyperiqa": "needs pyiqa: pip install pyiqa"}
    return Run(name, folder, {}, {"name": "b", "side": 256}, {}, lacking, {}, ("disentangled",), tuple(clips))


def test_the_registry_tells_all_of_every_metric() -> None:
    assert {"l1", "psnr", "ssim", "lpips", "fid", "fvd", "aed", "apd", "pose", "gaze", "tlp", "jitter"} <= set(METRICS)
    for key, metric in METRICS.items():
        assert metric.key == key and metric.label and metric.meaning and metric.source
        low, high = metric.range
        assert low is None or high is None or low < high
    assert chosen_metrics(("ssim", "l1")) == ("l1", "ssim")
    with pytest.raises(InputError, match="no metric 'beauty'"):
        chosen_metrics(("beauty",))


def test_bootstrap_holds_the_mean_and_is_always_the_same() -> None:
    values = list(np.random.default_rng(0).normal(3, 1, 40))
    low, high = bootstrap(values, "x") or (0, 0)
    assert low < np.mean(values) < high
    # for a normal mean the interval is known: 1.96 standard errors either way
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(40), rel=0.1)
    assert bootstrap(values, "x") == (low, high) != bootstrap(values, "y")
    assert bootstrap([1.0], "x") is None
    figure = clip_figure("l1", [0.2, 0.4], "self")
    assert (figure.value, figure.clips, figure.kind) == (pytest.approx(0.3), 2, "measured")


def test_set_figures() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(6, 4)) for _ in range(3)]
    assert set_figure("fid", rows, rows).value == pytest.approx(0, abs=1e-9)
    assert set_figure("fid", [rows[0][:1]], rows).value is None


def test_papers_are_quoted_exactly() -> None:
    table = make_table(LAYOUTS["table1"], [])
    ours = next(row for row in table.rows if row.label == "X-Portrait")
    assert [figure.value for figure in ours.figures] == [0.033, 0.829, 0.133, 14.553, 0.689, 67.569, 0.070, 3.37]
    assert len(table.rows) == 8 and {row.origin for row in table.rows} == {"published"}
    assert [len(make_table(LAYOUTS[name], []).rows) for name in ("table2", "dex-table1", "dex-table2")] == [4, 6, 4]


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_published_figures_stand_in_the_papers_lines(name: str, assets: Path) -> None:
    """tests/assets/published.txt holds the lines of the tables as the papers' text has them."""
    text = (assets / "published.txt").read_text()
    entries: tuple[published.Published, ...] = LAYOUTS[name].published
    paper = LAYOUTS[name].paper
    assert paper is not None and "arXiv" in str(paper.source) or "2026" in str(paper.source)
    assert not paper.baseline or paper.baseline in [entry.method for entry in entries]
    for entry in entries:
        assert entry.method.split(" ")[-1].lower() in text.lower()
        for value in entry.values.values():
            assert any(f"{value:.{digits}f}" in text for digits in (2, 3, 4)), (entry.method, value)


def test_measured_and_published_are_never_mixed() -> None:
    table = make_table(LAYOUTS["table1"], [run_of("mine")])
    origins = [row.origin for row in table.rows]
    assert origins == ["published"] * 8 + ["measured here"]
    for row in table.rows:
        kinds = {figure.kind for figure in row.figures}
        assert ("measured" in kinds) != ("published" in kinds)
    mine = dict(zip((column.key for column in table.layout.columns), table.rows[-1].figures, strict=True))
    assert mine["l1"].value == pytest.approx(0.11) and mine["l1"].low is not None
    assert mine["lpips"].value is None and mine["lpips"].why == LACKING
    assert mine["identity"].metric == "identity_retail"
    assert mine["quality"].kind == "missing", "sharpness or anything else never stands in for it"
    assert mine["fid"].kind == "missing"
    text = to_markdown(table)
    assert "measured here as ID retail-0095" in text and LACKING in text
    assert "| measured here | mine | 0.110 [" in text


def test_what_does_not_apply_is_na() -> None:
    run = run_of("mine")
    assert run.figure("disentangled", "aed").kind == "inapplicable"
    assert run.figure("cross", "l1").kind == "inapplicable"
    line = to_markdown(make_table(LAYOUTS["dex-table1"], [run])).splitlines()
    mine = next(row for row in line if "| mine |" in row)
    assert mine.count("N/A") == 3
    nemo = next(row for row in line if "| X-NeMo |" in row)
    assert nemo.count("N/A") == 3 and nemo.count("?") == 4


def test_tables_are_saved_in_both_forms(tmp_path: Path) -> None:
    table = make_table(LAYOUTS["table2"], [run_of("a"), run_of("b", gain=2)])
    paths = write_table(table, tmp_path)
    assert [path.name for path in paths] == ["table2.md", "table2.json"]
    content = json.loads(paths[1].read_text())
    assert content == json.loads(json.dumps(to_content(table)))
    figure = content["rows"][-1]["figures"][0]
    assert figure["kind"] == "measured" and figure["metric"] == "identity_retail" and figure["clips"] == 3
    with pytest.raises(InputError, match="two runs are called a"):
        make_table(LAYOUTS["table2"], [run_of("a"), run_of("a")])


def test_fid_comes_from_the_features_of_all_clips(tmp_path: Path) -> None:
    run = run_of("mine", tmp_path)
    rng, score = np.random.default_rng(0), ClipScore()
    for index in range(3):
        rows = rng.normal(size=(5, 6)).astype(np.float32)
        score.features = {"fid_result": rows + 1, "fid_ground_truth": rows}
        write_record(tmp_path, f"self-{index}", "self", "", "", score)
    assert run.figure("self", "fid").value == pytest.approx(6, rel=1e-5)
    assert run.figure("self", "fid").clips == 3
    assert run.figure("cross", "fid").kind == "inapplicable"


def test_runs_of_the_first_release_are_read(tmp_path: Path) -> None:
    """They call the ground truth's features and its absence by another name."""
    run = run_of("mine", tmp_path)
    score = ClipScore(features={"fid_result": np.ones((5, 6), np.float32), "fid_truth": np.eye(5, 6, dtype=np.float32)})
    write_record(tmp_path, "self-0", "self", "", "", score)
    figure = run.figure("self", "fid")
    assert figure.kind == "measured" and (figure.value or 0) > 1
    for clip in run.of("cross"):
        clip.absent["l1"] = "no truth exists for this pair"
    assert run.figure("cross", "l1").kind == "inapplicable"
