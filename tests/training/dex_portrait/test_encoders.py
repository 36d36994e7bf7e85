"""The training of DeX-Portrait nano's encoders: exact ground truth under every change, and the stage."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import InputError
from mien.geometry.pose import rotation_matrix
from mien.media import write_video
from mien.models.dex_portrait import Pose
from mien.models.dex_portrait.config import FaceExpressionEncoderConfig, FacePoseEncoderConfig
from mien.motion.inputs import TurnedCrop
from mien.training.dex_portrait import encoder_data as data
from mien.training.dex_portrait.encoders import _CONTRAST, DexEncoders
from mien.training.dex_portrait.losses import contrast
from mien.training.engine import checkpoints
from mien.training.engine.trainer import train
from mien.training.registry import configure
from samples import DrawnFaceReader, draw_face
from tiny_dex import TINY_DEX_WINDOW

# the landmark network knows one size of crops only; the rest is tiny
SMALL = replace(TINY_DEX_WINDOW, pose=FacePoseEncoderConfig(), expression=FaceExpressionEncoderConfig(code=16))
SIDE = 64


def drawn_group(folder: Path, people: int = 2, motions: int = 6) -> None:
    """A group of noise whose ground truth is that of a rigid head, as `mien.avatars.groups` writes it."""
    rng = np.random.default_rng(0)
    expression = rng.uniform(size=(motions, 57)).astype(np.float32)
    expression[3:] = expression[:3]
    poses = rng.normal(size=(people, motions, 6)).astype(np.float32) * 0.1
    poses[..., 5] = 0.4
    np.save(folder / "group_000_frames.npy", rng.integers(0, 255, (people, motions, 256, 256, 3), dtype=np.uint8))
    np.savez(
        folder / "group_000_meta.npz",
        landmarks=(128 + rng.normal(size=(people, motions, 68, 2)) * 40).astype(np.float32),
        depths=rng.normal(size=(people, motions, 68)).astype(np.float32),
        pupils=np.full((people, motions, 2, 3), 100, np.float32),
        head_pose=poses,
        rotation=np.stack([rotation_matrix(pose[:3]) for pose in poses[0]]).astype(np.float32),
        shift_scale=poses[0, :, 3:],
        expression=expression,
        validation=np.array(False),
    )
    (folder / "group_000_people.json").write_text(json.dumps({}))


def projected(code: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [k, 3] of a head in a pose code, half sides."""
    return np.exp(code[5]) * 0.4 * (points @ rotation_matrix(code[:3]).T)[:, :2] + code[3:5]


def turned_code(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=6) * [0.4, 0.4, 0.4, 0.2, 0.2, 0.3]


def test_pose_codes_follow_mirrored_pictures() -> None:
    code, points = turned_code(1), np.random.default_rng(1).normal(size=(70, 3))
    mirrored = projected(data._mirrored_code(code, True), points * [-1, 1, 1])
    np.testing.assert_allclose(mirrored, projected(code, points) * [-1, 1], atol=1e-9)
    assert np.array_equal(data._mirrored_code(code, False), code)


@pytest.mark.parametrize("angle", [-0.6, 0.0, 0.3])
def test_a_pose_in_a_crop_shows_its_points_where_the_crop_does_and_placed_undoes_it(angle: float) -> None:
    code, points = turned_code(2), np.random.default_rng(2).normal(size=(70, 3))
    crop = TurnedCrop(np.array([90.0, 120.0]), 70.0, angle)
    inside = data.code_in_crop(code, crop.similarity(200))
    wanted = crop.points_in((projected(code, points) + 1) * 100, 64)
    np.testing.assert_allclose((projected(inside, points) + 1) * 32, wanted, atol=1e-4)
    placed = Pose.from_code(torch.tensor(inside[None])).placed(torch.from_numpy(crop.similarity(200))[None])
    np.testing.assert_allclose(placed.code()[0].numpy(), code, atol=1e-5)


def test_a_batch_holds_views_of_expressions_and_what_is_known_of_them(tmp_path: Path) -> None:
    drawn_group(tmp_path)
    made = data.EncoderData([tmp_path])
    batch = made.draw(np.random.default_rng(0), 3, SIDE, data.EncoderAugmentation())
    shapes = {name: tuple(part.shape) for name, part in batch.items()}
    assert shapes == {
        **dict.fromkeys(("masked", "crop", "again"), (3, 3, SIDE, SIDE)),
        **dict.fromkeys(("moved", "moved_again"), (3, 70, 3)),
        "pose": (3, 6),
        "scores": (3, 57),
    }
    assert all(batch[name].abs().max() <= 1 for name in ("masked", "crop", "again"))
    assert not torch.equal(batch["crop"], batch["again"])
    none = made.draw(np.random.default_rng(0), 8, SIDE, data.EncoderAugmentation.none())
    assert torch.equal(none["crop"], none["again"]) and torch.equal(none["moved"], none["moved_again"])


def test_in_a_mirror_sides_are_the_other_ones(tmp_path: Path) -> None:
    drawn_group(tmp_path, people=1, motions=1)
    meta = dict(np.load(tmp_path / "group_000_meta.npz"))
    names = np.array([*(f"score{index}" for index in range(55)), "eyeBlinkLeft", "eyeBlinkRight"])
    np.savez(tmp_path / "group_000_meta.npz", **meta, expression_names=names)
    made, batches = data.EncoderData([tmp_path]), []
    for flip in (True, False):
        batches.append(made.draw(_Coin(flip), 1, SIDE, data.EncoderAugmentation.none()))  # type: ignore[arg-type]
    there, here = batches
    order = [*range(55), 56, 55]
    assert torch.equal(there["scores"], here["scores"][:, order])
    swapped = here["moved"][0].numpy()[data._KEYPOINT_MIRROR] * [-1, 1, 1]
    np.testing.assert_allclose(there["moved"][0].numpy(), swapped, atol=1e-6)
    np.testing.assert_allclose(there["pose"][0].numpy() * [1, -1, -1, -1, 1, 1], here["pose"][0].numpy(), atol=1e-4)
    assert (there["crop"].flip(3) - here["crop"]).abs().mean() < 0.1


class _Coin:
    """Random numbers in the middle of what is asked for, but for the one that says whether pictures are mirrored."""

    def __init__(self, flip: bool) -> None:
        self.flip, self.asked = flip, 0

    def random(self) -> float:
        self.asked += 1
        return (0.0 if self.flip else 1.0) if self.asked == 1 else 1.0

    def choice(self, count: int, p: object) -> int:
        return 0

    def integers(self, high: int) -> int:
        return 0

    def uniform(self, low: float, high: float, size: int | None = None) -> object:
        middle = (low + high) / 2
        return middle if size is None else np.full(size, middle)


def twinned(folder: Path) -> None:
    """A group whose second half is the first one's poses and pictures with other expressions."""
    drawn_group(folder)
    meta = dict(np.load(folder / "group_000_meta.npz"))
    meta["rotation"][3:], meta["shift_scale"][3:] = meta["rotation"][:3], meta["shift_scale"][:3]
    meta["landmarks"][:, 3:] = meta["landmarks"][:, :3]
    np.savez(folder / "group_000_meta.npz", **meta)
    frames = np.load(folder / "group_000_frames.npy")
    frames[:, 3:] = frames[:, :3]
    np.save(folder / "group_000_frames.npy", frames)


def test_a_pose_with_two_expressions_is_shown_twice_in_the_same_crop(tmp_path: Path) -> None:
    twinned(tmp_path)
    made = data.EncoderData([tmp_path])
    assert made.groups[0].twin.tolist() == [3, 4, 5, 0, 1, 2]
    plain = data.EncoderAugmentation(color_jitter=0.0, poor=0.0)  # crops are turned and misplaced nevertheless
    batch = made.draw(np.random.default_rng(0), 3, SIDE, plain)
    assert batch["twin_of"].tolist() == [0, 1, 2] and torch.equal(batch["twins"], batch["masked"])
    none = made.draw(np.random.default_rng(0), 3, SIDE, data.EncoderAugmentation.none())
    assert "twins" not in none


def test_folders_are_drawn_from_by_their_shares(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("much", "little")]
    for folder, people in zip(folders, (6, 2), strict=True):
        folder.mkdir()
        drawn_group(folder, people)
    assert np.allclose(data.EncoderData(folders)._odds, [0.75, 0.25])
    shares = dict(zip(folders, (0.4, 0.6), strict=True))
    assert np.allclose(data.EncoderData(folders, weights=shares)._odds, [0.4, 0.6])


def test_codes_that_are_all_one_are_the_worst_there_are() -> None:
    codes = torch.eye(6)
    assert float(contrast(torch.ones(6, 4), torch.ones(6, 4))) == pytest.approx(math.log(6))
    assert float(contrast(codes, codes)) < 0.1
    assert float(contrast(codes, codes.roll(1, 0))) > math.log(6)


def stage_of(folder: Path, **more: object) -> DexEncoders:
    given = {"data": (str(folder),), "out": str(folder / "run"), "precision": "fp32", "show_every": 0, "warmup": 1}
    return DexEncoders(configure("dex/face-window-encoder", **{**given, **more}), SMALL)


def test_what_the_loss_asks_for(tmp_path: Path) -> None:
    """Heads that know nothing are as wrong as the ground truth is large; one code for all costs the contrast."""
    twinned(tmp_path)
    stage = stage_of(tmp_path)
    model, batch = stage.build(), stage.batch(np.random.default_rng(0), 3)
    with torch.no_grad():
        first = stage.loss(model, batch, torch.Generator())
        for weights in (model.expression_encoder.head.weight, model.expression_encoder.head.bias):
            weights.zero_()
        model.expression_encoder.head.bias[0] = 1.0
        same = stage.loss(model, batch, torch.Generator())
        torch.nn.init.normal_(model.pose_encoder.head.weight, std=0.02)
        moved = stage.loss(model, {**batch, "twins": batch["masked"]}, torch.Generator())
        apart = stage.loss(model, {**batch, "twins": batch["masked"].flip(0)}, torch.Generator())
    assert set(first) == {"anchor", "steady", "moved", "scores", "agreement", "contrast"}
    assert float(first["anchor"]) == pytest.approx(float(batch["pose"].abs().sum(1).mean()), rel=1e-5)
    assert float(first["steady"]) == 0  # every pose is the same at first
    assert float(same["agreement"]) == pytest.approx(0, abs=1e-6)
    assert float(same["contrast"]) == pytest.approx(_CONTRAST * math.log(3), rel=1e-4)
    assert float(moved["steady"]) < 1e-5 < float(apart["steady"])


def test_encoders_begin_as_the_face_readers_network_and_learn(tmp_path: Path) -> None:
    drawn_group(tmp_path)
    stage = stage_of(tmp_path, steps=2, batch_size=2)
    before = stage.build()
    bodies = [one.features.body.state_dict() for one in (before.pose_encoder, before.expression_encoder)]
    assert all(torch.equal(value, bodies[1][name]) for name, value in bodies[0].items())
    outcome = train(stage, stage.options)
    assert outcome.finished
    model = stage.build()
    stage.start(model, tmp_path / "run")
    trained = checkpoints.find(tmp_path / "run").averaged_weights()
    assert torch.equal(model.scores.weight, trained["scores.weight"]) and model.scores.weight.abs().max() > 0
    stage.export(model, tmp_path / "export")
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["expression_encoder", "pose_encoder"]
    with torch.no_grad():
        assert stage.pictures(model.eval()).shape == (8 * 256, 6 * 256, 3)


def clips(folder: Path) -> Path:
    """A clip of a drawn face, whose last frame shows none."""
    folder.mkdir()
    faces = [draw_face(96, 96, mouth=0.1 * index) for index in range(6)]
    write_video(folder / "talk_000.mp4", faces, 25)
    marks = np.stack([DrawnFaceReader().read(face).landmarks for face in faces])  # type: ignore[union-attr]
    seen = np.array([True] * 5 + [False])
    np.savez(folder / "talk_000.npz", landmarks=marks, head_pose=np.zeros((6, 6)), seen=seen)
    return folder


def test_faces_of_clips_are_positives_and_the_reader_tells_what_they_express(tmp_path: Path) -> None:
    groups, cut = tmp_path / "groups", clips(tmp_path / "clips")
    groups.mkdir()
    drawn_group(groups)
    stage = stage_of(tmp_path, data=(f"{groups}:0.5", f"{cut}:0.5"))
    batch = stage.batch(np.random.default_rng(0), 8)
    assert batch["crop"].shape == batch["clip_crop"].shape == batch["clip_again"].shape == (4, 3, 256, 256)
    assert not torch.equal(batch["clip_crop"], batch["clip_again"])
    assert len(stage.clips._faces[0]) == 5, "frames without a face show nothing"  # type: ignore[index]

    class Reader:
        def read(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return torch.zeros(0), torch.full((len(crops), 52), 0.3), torch.tensor([1.0, 0.0, 1.0, 1.0])

    stage._reader = Reader()  # type: ignore[assignment]
    model = stage.build()
    with torch.no_grad():
        losses = stage.loss(model, batch, torch.Generator())
        same = stage.loss(model, {**batch, "clip_again": batch["clip_crop"]}, torch.Generator())
    # half of the batch, three of four faces, each 3 tenths away, of which the smooth L1 takes 2.5
    assert float(losses["clip_read"]) == pytest.approx(0.5 * 0.5 * 0.75 * 2.5, rel=1e-4)
    assert float(losses["clip_agreement"]) > 0 and float(same["clip_agreement"]) == pytest.approx(0, abs=1e-6)
    unread = stage_of(tmp_path, data=(f"{groups}:0.5", f"{cut}:0.5"), reading=False)
    assert "clip_read" not in unread.loss(unread.build(), batch, torch.Generator())


def test_clips_alone_are_no_ground_truth(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encoders need exact ground truth"):
        stage_of(tmp_path, data=(str(clips(tmp_path / "clips")),))
