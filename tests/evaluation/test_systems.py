"""Our systems on drawn faces, with tiny random models; and both ends on real faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation_samples import SIDE, make_benchmark
from mien.errors import InputError
from mien.evaluation.benchmark import Medium, Pair, read_benchmark
from mien.evaluation.footage import Footage, load_footage
from mien.evaluation.scoring import ScoreOptions, Scorer
from mien.evaluation.systems import CopyDriver, CopySource, answer
from mien.jobs.demo import FOLDER
from mien.jobs.evaluate_options import SystemSpec, parse_predictions, parse_system
from mien.jobs.evaluation_systems import (
    KINDS,
    load_system,
)
from mien.models.face_vid2vid import FaceVid2Vid
from mien.pipelines.face_vid2vid import FaceVid2VidPipeline
from samples import DrawnFaceReader, job_pipeline
from tiny_dex import tiny_dex_pipeline
from tiny_face_vid2vid import TINY_F


@pytest.fixture(scope="module")
def footages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Footage]:
    pairs = read_benchmark(make_benchmark(tmp_path_factory.mktemp("bench"))).pairs
    return {pair.id: load_footage(pair, SIDE) for pair in pairs}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    job_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())


@pytest.mark.usefixtures("_drawn")
@pytest.mark.parametrize("kind", ["x-portrait", "landmarks"])
def test_x_portrait_answers_as_animate_does(
    kind: str, model: str, footages: dict[str, Footage], monkeypatch: pytest.MonkeyPatch
) -> None:
    # in bfloat16 other noise changes what these tiny networks make by less than a level
    monkeypatch.setattr("mien.animation.loading.has_bfloat16_tiles", lambda: False)
    system = load_system(SystemSpec("mine", kind, model, steps=1, seed=3))
    made = {name: answer(system, footages[name]) for name in ("self-a", "cross-b")}
    assert (answer(system, footages["cross-b"]) == made["cross-b"]).all(), "the same seed, the same frames"
    changed = np.abs(made["cross-b"].astype(int) - footages["cross-b"].case.source).max((0, 3))
    assert changed.max() > 0
    about = system.describe()
    assert (about["system"], about["steps"], about["seed"], about["reader"]) == (kind, 1, 3, "drawn")
    assert system.protocols == {"self", "cross"}
    other = load_system(SystemSpec("mine", kind, model, steps=1, seed=4))
    assert (answer(other, footages["cross-b"]) != made["cross-b"]).any()


def test_a_reader_that_is_gone_is_told_before_any_work() -> None:
    with pytest.raises(InputError, match="'nano' is gone: give auto"):
        SystemSpec("x-portrait", "x-portrait", reader="nano")


@pytest.mark.usefixtures("_drawn")
def test_a_portrait_without_a_face_is_told(model: str, footages: dict[str, Footage]) -> None:
    system = load_system(SystemSpec("mine", "x-portrait", model, steps=1))
    case = footages["cross-b"].case
    blind = type(case)(case.id, case.protocol, np.zeros_like(case.source), case.driver, case.driver)
    with pytest.raises(InputError, match="no face was found in the portrait of cross-b"):
        system.animate(blind)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("landmarks", "landmarks:FOLDER"),
        ("face-vid2vid", "no bundled weights"),
        ("face-vid2vid-plus", "face-vid2vid-plus:FOLDER"),
    ],
)
def test_absent_weights_are_one_clear_sentence(kind: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_system(SystemSpec(kind, kind))


def test_systems_are_named_as_one_likes(tmp_path: Path) -> None:
    spec = parse_system("w/o local control=x-portrait:runs/a=b")
    assert (spec.name, spec.kind, spec.model) == ("w/o local control", "x-portrait", "runs/a=b")
    assert spec.folder == "w-o-local-control"
    assert parse_system("face-vid2vid-plus").kind == "face-vid2vid-plus"
    assert parse_system("truth").kind == "ground-truth", "the first release's name"
    assert set(KINDS) >= {"x-portrait", "dex", "face-vid2vid", "landmarks", "copy-source", "copy-driver"}
    with pytest.raises(InputError, match="no system 'magic'"):
        parse_system("magic")
    (tmp_path / "TPS").mkdir()
    assert parse_predictions(str(tmp_path / "TPS")).name == "TPS"
    assert parse_predictions(f"mine={tmp_path / 'TPS'}").name == "mine"
    with pytest.raises(InputError, match="is no folder"):
        parse_predictions("mine=nowhere")


def test_both_ends_on_real_faces(assets: Path) -> None:
    """`copy-source` has identity about 1 and no motion, `copy-driver` the reverse."""
    driver = Medium(FOLDER / "driver.mp4", 4, 8, 8)
    pair = Pair("x", "cross", Medium(assets / "faces" / "astronaut.jpg"), driver)
    footage = load_footage(pair, 256)
    keys = ("identity_retail", "aed", "apd", "pose", "motion", "jitter", "gaze", "pose_correlation", "found")
    scorer = Scorer(ScoreOptions(keys, (assets,)))
    source, copied = (scorer.score(footage, answer(s, footage)).values for s in (CopySource(), CopyDriver()))
    scorer.close()
    assert source["identity_retail"] == pytest.approx(1, abs=1e-4)
    assert source["motion"] == pytest.approx(0, abs=1e-9) and source["jitter"] == pytest.approx(0, abs=1e-9)
    assert source["pose_correlation"] == 0
    assert source["aed"] is not None and source["aed"] > 0.03 and (source["pose"] or 0) > 3
    assert copied["identity_retail"] is not None and copied["identity_retail"] < 0.3
    for key in ("aed", "apd", "pose", "gaze"):
        assert copied[key] == pytest.approx(0, abs=1e-9)
    assert copied["motion"] == pytest.approx(1) and copied["jitter"] == pytest.approx(1)
    assert copied["pose_correlation"] == pytest.approx(1)
    assert source["found"] == copied["found"] == 1


@pytest.mark.usefixtures("_drawn")
def test_dex_takes_pose_and_expression_apart(
    footages: dict[str, Footage], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("model") / "dex"
    tiny_dex_pipeline().save_pretrained(folder)
    system = load_system(SystemSpec("mine", "dex", str(folder), steps=2, seed=1))
    assert "disentangled" in system.protocols
    footage = footages["apart-ab"]
    made = answer(system, footage)
    assert (answer(system, footage) == made).all(), "the same seed, the same frames"
    case = footage.case
    by_pose = system.animate(replace(case, expression=case.driver))
    assert (by_pose != made).any(), "the expression is not the driver's"
    assert (system.animate(replace(case, driver=case.expression)) != made).any(), "nor the pose the expression's"
    about = system.describe()
    assert (about["system"], about["steps"], about["seed"], about["motion"]) == ("dex", 2, 1, "absolute")


@pytest.mark.usefixtures("_drawn")
def test_face_vid2vid_answers_with_what_training_exported(footages: dict[str, Footage], tmp_path: Path) -> None:
    for seed in (0, 1):
        torch.manual_seed(seed)
        FaceVid2VidPipeline(FaceVid2Vid.of(TINY_F).eval()).save_pretrained(tmp_path / str(seed))
    system, other = (load_system(SystemSpec("F", "face-vid2vid", str(tmp_path / seed))) for seed in ("0", "1"))
    made = answer(system, footages["cross-b"])
    assert (made != answer(other, footages["cross-b"])).any()
    about = system.describe()
    assert about["weights"] != other.describe()["weights"], "kept answers of other weights are not taken for its own"
    assert about["reader"] == "drawn" and "steps" not in about and system.protocols == {"self", "cross"}
    with pytest.raises(InputError, match="is no model of the system face-vid2vid"):
        load_system(SystemSpec("F", "face-vid2vid", "nano"))
