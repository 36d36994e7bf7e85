from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.avatars import head_pack
from mien.avatars.camera import FLIP, Placement, project
from mien.avatars.head_model import EYEBALLS, TEETH, HeadModel, gaze_rotation, load_head_model
from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES


def test_landmarks_are_in_ibug_order(model: HeadModel) -> None:
    points = project(Placement(np.eye(3), np.array([0, 0, 80.0])).apply(model.neutral), 256)[model.landmarks]
    assert points[0, 0] < points[16, 0], "the contour runs from the picture's left"
    assert points[36:42, 0].mean() < points[42:48, 0].mean()
    assert points[19, 1] < points[37, 1] < points[30, 1] < points[57, 1] < points[8, 1]


def test_identity_and_expression_add(model: HeadModel) -> None:
    rng = np.random.default_rng(0)
    identity, expression = rng.normal(size=10), model.coefficients(jawOpen=0.6, mouthSmile_L=0.3)
    shape = model.shape(identity)
    expected = model.neutral + np.tensordot(identity, model.identity[:10].astype(np.float64), 1)
    expected = expected + np.tensordot(expression, model.expressions.astype(np.float64), 1)
    first = model.part_range[EYEBALLS[0], 0]
    assert model.posed(shape, expression)[:first] == pytest.approx(expected[:first], abs=2e-3)


def test_eyes_turn_as_commanded(model: HeadModel) -> None:
    shape = model.shape()
    first, last = model.eye_range[0]
    still = model.posed(shape, model.coefficients())[first:last]
    turned = model.posed(shape, model.coefficients(eyeLookOut_L=1.0, eyeLookIn_R=1.0))[first:last]
    centre = shape.eye_centres[0]
    assert (still - centre) @ gaze_rotation(35, 0).T == pytest.approx(turned - centre, abs=1e-4)
    assert turned[:, 0].sum() > still[:, 0].sum(), "the subject's left eye looks out to +x"
    up = gaze_rotation(0, 20) @ np.array([0, 0, 1.0])
    assert up[1] == pytest.approx(np.sin(np.radians(20)), abs=1e-6)


def test_lids_meet_when_they_close(model: HeadModel) -> None:
    upper, lower = model.landmarks[[43, 44]], model.landmarks[[47, 46]]

    def gap(amount: float) -> float:
        posed = model.posed(model.shape(), model.coefficients(eyeBlink=amount))
        return float((posed[upper, 1] - posed[lower, 1]).mean())

    assert gap(0.0) > 0.6
    assert gap(1.0) < 0.2 * gap(0.0)


def test_reader_scores_go_to_the_shapes_of_their_names(model: HeadModel) -> None:
    blendshapes = dict(zip(EXPRESSION_NAMES, np.linspace(0.1, 0.9, len(EXPRESSION_NAMES)), strict=True))
    expression = model.from_blendshapes(np.array(list(blendshapes.values())))
    for name, wanted in (("jawOpen", "jawOpen"), ("mouthSmile_R", "mouthSmileRight"), ("cheekPuff_L", "cheekPuff")):
        assert expression[model.index(name)] == pytest.approx(blendshapes[wanted])
    assert np.count_nonzero(expression) > 50


def test_unknown_shape_is_named(model: HeadModel) -> None:
    with pytest.raises(KeyError, match="wiggleEars"):
        model.coefficients(wiggleEars=1.0)


def test_nothing_hidden_is_drawn(model: HeadModel) -> None:
    assert model.triangle_part.max() == EYEBALLS[1]
    assert (model.triangle_part == TEETH).any()
    for first, last in model.eye_range[1::2]:
        assert not ((model.triangles >= first) & (model.triangles < last)).any(), "the iris lies behind the sclera"


def test_missing_or_damaged_packs_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mien data head-model"):
        load_head_model(tmp_path / "none.npz")
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(InputError, match="cannot be read"):
        load_head_model(damaged)
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(2))
    with pytest.raises(InputError, match="lacks vertices_neutral"):
        load_head_model(other)


def _write_obj(path: Path, vertices: np.ndarray, rest: str = "") -> None:
    path.write_text("".join(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in vertices) + rest)


def test_a_clone_packs_to_the_same_model(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OBJ files written from the pack (two shapes stand for all) give the model that the pack itself gives."""
    data = np.load(pack)
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    neutral = data["vertices_neutral"].astype(np.float64)
    faces = [f"vt {u:.6f} {v:.6f}\n" for u, v in data["uv"]]
    for points, places in zip(data["quads"].tolist(), data["quads_uv"].tolist(), strict=True):
        faces.append("f " + " ".join(f"{p + 1}/{t + 1}" for p, t in zip(points, places, strict=True) if p >= 0) + "\n")
    _write_obj(folder / "generic_neutral_mesh.obj", neutral, "".join(faces))
    _write_obj(folder / "identity000.obj", neutral + data["identity_deltas"][0])
    _write_obj(folder / "browDown_L.obj", neutral + data["expression_deltas"][0])
    monkeypatch.setattr(head_pack, "_IDENTITIES", 1)
    monkeypatch.setattr(head_pack, "_SHAPES", ("browDown_L",))
    made, known = load_head_model(head_pack.pack_clone(tmp_path, tmp_path / "made.npz")), load_head_model(pack)
    assert made.neutral == pytest.approx(known.neutral, abs=1e-5)
    assert np.array_equal(made.landmarks, known.landmarks)
    assert np.array_equal(made.triangles, known.triangles)
    assert made.corner_uv[made.corners] == pytest.approx(known.corner_uv[known.corners], abs=1e-5)
    assert made.identity[0].astype(float) == pytest.approx(known.identity[0].astype(float), abs=2e-3)
    assert made.expressions[0].astype(float) == pytest.approx(known.expressions[0].astype(float), abs=2e-3)
    assert made.eye_range.tolist() == known.eye_range.tolist()


def test_a_folder_that_is_no_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="generic_neutral_mesh.obj is not there"):
        head_pack.pack_clone(tmp_path, tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_the_models_axes_are_the_cameras_after_the_flip(model: HeadModel) -> None:
    placed = Placement(np.eye(3), np.zeros(3)).apply(model.neutral)
    assert placed == pytest.approx(model.neutral @ FLIP.T)
