"""The stages of Face Vid2Vid: losses, data, what learns, and that one stage leads to the next and to control images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import InputError
from mien.geometry import HeadPose
from mien.geometry.patches import patch_boxes
from mien.media import write_video
from mien.models.face_vid2vid import FaceVid2Vid, Motion
from mien.pipelines.face_vid2vid import FaceVid2VidPipeline, load_reenactor
from mien.training.data.samples import FaceFrame, SampleSpec
from mien.training.data.stage import open_data, open_held_out
from mien.training.data.video_clips import VideoClips
from mien.training.engine import checkpoints
from mien.training.engine.trainer import train
from mien.training.face_vid2vid.collate import angles_of, draw_batch
from mien.training.face_vid2vid.losses import (
    Deformation,
    FaceVid2VidWeights,
    cut_patches,
    deformation_prior,
    equivariance,
    feature_matching,
    head_pose_distance,
    hinge_discriminator,
    keypoint_prior,
    local_losses,
    perceptual_l1,
    pixel_l1,
)
from mien.training.face_vid2vid.stage import FaceVid2VidModel, FaceVid2VidStage, FaceVid2VidStageConfig
from mien.training.perceptual import PyramidPerceptual, VGG19Perceptual, choose_perceptual
from mien.training.registry import configure, make_stage
from mien.training.x_portrait.control_images import face_vid2vid
from samples import _TEMPLATE, draw_face
from tiny_face_vid2vid import PLAIN_F, TINY_F

SIDE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people in 64 motions: faces whose place is the motion and whose colour is the person."""
    out = tmp_path_factory.mktemp("avatars")
    rng = np.random.default_rng(0)
    frames = np.empty((2, 64, SIDE, SIDE, 3), np.uint8)
    landmarks, poses = np.empty((2, 64, 68, 2), np.float32), np.zeros((2, 64, 6), np.float32)
    for motion in range(64):
        centre, radius = rng.uniform(0.4, 0.6, 2), rng.uniform(0.25, 0.35)
        turn = HeadPose.from_euler(*rng.uniform(-30, 30, 3)).rotation
        for person in range(2):
            picture = draw_face(SIDE, SIDE, tuple(centre), radius, 0.5)
            frames[person, motion] = np.where(picture == 220, 220 - 90 * person, picture)
            landmarks[person, motion] = (centre + radius * _TEMPLATE) * SIDE
            poses[person, motion] = [*turn, *(2 * centre - 1), radius]
    np.save(out / "group_000_frames.npy", frames)
    np.savez(out / "group_000_meta.npz", landmarks=landmarks, head_pose=poses, validation=np.array(False))
    return out


def options(folder: Path, out: Path, plus: bool = False, **more: object) -> FaceVid2VidStageConfig:
    given = {"precision": "fp32", "steps": 2, "batch_size": 2, "show_every": 0, "save_every": 1000, "ema": 0.5, **more}
    name = "face-vid2vid-plus" if plus else "face-vid2vid"
    made: FaceVid2VidStageConfig = configure(name, data=(str(folder),), out=str(out), **given)
    return made


# -- losses


def face(side: int = 32) -> torch.Tensor:
    return torch.from_numpy(draw_face(side, side)).permute(2, 0, 1)[None].float() / 127.5 - 1


@torch.no_grad()
def test_equivariance_is_nothing_where_nothing_is_deformed() -> None:
    torch.manual_seed(0)
    model, picture = FaceVid2Vid.of(TINY_F).eval(), face()
    torch.nn.init.normal_(model.head_pose.expression.weight, std=0.1)
    still, bent = (
        Deformation.draw(1, torch.Generator().manual_seed(0), torch.device("cpu"), strength) for strength in (0.0, 1.0)
    )
    canonical = model.encode(picture).canonical
    keypoints = model.motion(picture).keypoints(canonical)
    for deformation, low, high in ((still, 0, 1e-4), (bent, 1e-3, 1)):
        again = model.motion(deformation.picture(picture)).keypoints(canonical)
        assert low <= float(equivariance(keypoints, again, deformation)) <= high


def test_a_deformed_picture_shows_at_x_what_was_at_t_of_x() -> None:
    ramp = torch.linspace(-1, 1, 65)
    picture = torch.stack([ramp.expand(65, 65), ramp[:, None].expand(65, 65)])[None]  # its colours are its places
    deformation = Deformation.draw(1, torch.Generator().manual_seed(3), torch.device("cpu"))
    moved = deformation.picture(picture)[0, :, 16:49, 16:49].flatten(1).T
    places = picture[0, :, 16:49, 16:49].flatten(1).T[None]
    torch.testing.assert_close(moved, deformation.points(places)[0], atol=1e-4, rtol=0)
    assert (moved - places[0]).abs().max() > 0.02


def test_priors_and_pose_are_what_they_say() -> None:
    apart = torch.tensor([[[0.0, 0, 0.33], [1, 0, 0.33]]])
    assert float(keypoint_prior(apart)) == pytest.approx(0, abs=1e-6)
    near = torch.tensor([[[0.0, 0, 0.5], [0.2, 0, 0.5]]])
    assert float(keypoint_prior(near)) == pytest.approx(2 * (0.1 - 0.04) + 0.17, abs=1e-5)
    motion = Motion(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([[[0.1, -0.2, 0.3]]]))
    assert float(deformation_prior(motion)) == pytest.approx(0.2)
    assert float(head_pose_distance(torch.tensor([[3.0, 0, 0]]), torch.tensor([[0.0, 6, 0]]))) == pytest.approx(3)


def test_hinge_and_feature_matching() -> None:
    assert float(hinge_discriminator(torch.tensor([2.0]), torch.tensor([-2.0]))) == 0
    assert float(hinge_discriminator(torch.tensor([0.0]), torch.tensor([0.5]))) == pytest.approx(2.5)
    features = [torch.zeros(1, 2), torch.ones(1, 3)]
    assert float(feature_matching(features, [f + 0.5 for f in features])) == pytest.approx(1.0)


def test_patches_lie_inside_and_cost_nothing_where_pictures_agree() -> None:
    landmarks = np.full((68, 2), -50.0)
    landmarks[49:] = 500
    corners = torch.tensor([[box[:2] for box in patch_boxes(landmarks, 64)]])
    assert corners.min() >= 0
    assert corners.max() + 16 <= 64
    picture, other = face(64), face(64)
    cut = cut_patches(picture, corners, 16)
    x, y = corners[0, 2].tolist()
    assert torch.equal(cut[2], picture[0, :, y : y + 16, x : x + 16])
    other[..., 30:34, 30:34] += 0.5  # between the patches
    perceptual = PyramidPerceptual()
    assert [float(loss) for loss in local_losses(perceptual, other, picture, corners)] == [0, 0]
    other[..., y + 8, x + 8] += 0.5
    assert all(float(loss) > 0 for loss in local_losses(perceptual, other, picture, corners))


class SmallVGG19(VGG19Perceptual):
    _GROUPS = ((4, 4), (6, 6))


def test_perceptual_losses_are_named_and_see_every_scale(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert choose_perceptual(None).name == "pyramid"
    assert "no VGG weights were given" in caplog.text
    shapes = {0: (4, 3), 2: (4, 4), 5: (6, 4), 7: (6, 6)}
    tensors = {f"features.{i}.weight": torch.randn(*shape, 3, 3) for i, shape in shapes.items()}
    tensors |= {f"features.{i}.bias": torch.randn(shape[0]) for i, shape in shapes.items()}
    save_file(tensors, tmp_path / "vgg.safetensors")
    vgg = SmallVGG19(tmp_path / "vgg.safetensors")
    first, second = vgg.features(face())
    assert (first.shape, second.shape) == ((1, 4, 32, 32), (1, 6, 16, 16))
    plain = (face() / 2 + 0.5 - vgg.mean) / vgg.deviation
    wanted = torch.nn.functional.conv2d(plain, tensors["features.0.weight"], tensors["features.0.bias"], padding=1)
    torch.testing.assert_close(first, wanted.relu())  # relu1_1, not normalised
    assert perceptual_l1(vgg, face(), face()) == 0
    made = (face() + 0.2).requires_grad_()
    perceptual_l1(vgg, made, face()).backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert float(pixel_l1(face() + 0.25, face())) == pytest.approx(1.0)  # four scales


# -- data


def test_batches_hold_exact_angles_and_mirror_everything_together(folder: Path) -> None:
    data = open_data(options(folder, folder))
    first, again = (draw_batch(data, np.random.default_rng(3), 4, SampleSpec(2, side=SIDE)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert (first["source"].shape, first["target"].shape) == ((4, 3, SIDE, SIDE), (8, 3, SIDE, SIDE))
    assert (first["source_angles"].shape, first["angles"].shape) == ((4, 3), (8, 3))
    assert first["corners"].shape == (8, 3, 2)
    pose = HeadPose.from_euler(20, -10, 5)
    frame = FaceFrame(draw_face(SIDE, SIDE), _TEMPLATE, np.array([*pose.rotation, 0, 0, 1]))
    np.testing.assert_allclose(angles_of(frame), [20, -10, 5], atol=1e-3)
    # mirrored and not: the same pitches, opposite yaws and rolls, mirrored pictures
    rows = {}
    for seed in range(12):
        draw = draw_batch(data, np.random.default_rng(seed), 1, SampleSpec(1, side=SIDE))
        plain = draw_batch(data, np.random.default_rng(seed), 1, SampleSpec(1, side=SIDE), plain=True)
        ratio = draw["angles"] / plain["angles"]
        rows[round(float(ratio[0, 0]))] = ratio[0].tolist()
        shown = plain["target"].flip(3) if ratio[0, 0] < 0 else plain["target"]
        assert (draw["target"] - shown).abs().mean() < 0.3
    assert rows[1] == pytest.approx([1, 1, 1], abs=1e-4)
    assert rows[-1] == pytest.approx([-1, 1, -1], abs=1e-4)


def test_heads_beyond_the_bins_are_left_out(folder: Path) -> None:
    data = open_data(options(folder, folder))

    class Turned:
        def at_step(self, step: int) -> None: ...

        def refresh(self) -> int:
            return 1

        def sample(self, rng: np.random.Generator, spec: SampleSpec) -> object:
            sample = data.sample(rng, spec)
            pose = np.array([*HeadPose.from_euler(120, 0, 0).rotation, 0, 0, 1])
            return dataclasses.replace(sample, source=dataclasses.replace(sample.source, pose=pose))

    with pytest.raises(InputError, match="turned by more than 96 degrees"):
        draw_batch(Turned(), np.random.default_rng(0), 1, SampleSpec(1, side=SIDE))  # type: ignore[arg-type]


def test_prepared_videos_serve_too_and_empty_folders_are_named(folder: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "clip_000.mp4", [draw_face(64, 64, centre) for centre in ((0.5, 0.5), (0.45, 0.5))] * 3, 25)
    marks = np.repeat((0.5 + 0.3 * _TEMPLATE)[None] * 64, 6, 0).astype(np.float32)
    poses = np.tile(np.array([0, 0, 0, 0, 0, 0.5], np.float32), (6, 1))
    np.savez(tmp_path / "clip_000.npz", landmarks=marks, head_pose=poses, seen=np.array([1, 1, 0, 1, 1, 1], bool))
    data = open_data(options(tmp_path, tmp_path))
    assert isinstance(data.sources[0], VideoClips)
    assert data.weights == [1]
    drawn = draw_batch(data, np.random.default_rng(0), 1, SampleSpec(3, side=SIDE))
    assert drawn["target"].shape == (3, 3, SIDE, SIDE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds nothing to train on"):
        open_data(options(tmp_path / "empty", tmp_path))
    assert open_held_out(options(folder, tmp_path)) is None


# -- stages


def test_a_short_run_lowers_the_loss_and_everything_gets_a_gradient(folder: Path, tmp_path: Path) -> None:
    stage = FaceVid2VidStage(options(folder, tmp_path), config=PLAIN_F)
    stage.at_step(0)
    batch, model = stage.batch(np.random.default_rng(0), 2), stage.build()
    assert isinstance(model, FaceVid2VidModel)
    assert stage.images(batch) == 2
    optimizer, losses = torch.optim.Adam(model.f.parameters(), 5e-3), []
    for _ in range(30):
        terms = stage.optimizer_steps[0].loss(model, batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        losses.append({name: float(value.detach()) for name, value in terms.items()})
    assert set(terms) == {"pyramid", "pixel", "equivariance", "prior", "pose", "deformation"}
    assert losses[-1]["pixel"] < 0.6 * losses[0]["pixel"]
    assert losses[-1]["pose"] < 0.8 * losses[0]["pose"]
    missing = [name for name, p in model.f.named_parameters() if p.grad is None]
    assert not missing
    assert set(stage.optimizer_steps[1].loss(model, batch, torch.Generator())) == {"waiting"}
    batch["step"] = torch.tensor(10_000)
    late = stage.optimizer_steps[0].loss(model, batch, torch.Generator().manual_seed(0))
    assert {"adversarial", "matching"} < set(late)
    assert set(stage.optimizer_steps[1].loss(model, batch, torch.Generator())) == {"discriminator"}


def test_the_plus_stage_has_its_losses_rates_and_needs_a_start(folder: Path, tmp_path: Path) -> None:
    plus = FaceVid2VidStage(options(folder, tmp_path, plus=True), config=PLAIN_F)
    assert plus.optimizer_steps[0].learning_rate == 5e-5
    assert plus.optimizer_steps[0].learning_rate * plus.optimizer_steps[0].rates[
        "f.keypoint_detector"
    ] == pytest.approx(1e-5)
    assert plus.weights.deformation == pytest.approx(1.0)
    with pytest.raises(InputError, match="goes on from F: give --start"):
        plus.check()
    model, batch = plus.build(), plus.batch(np.random.default_rng(0), 1)
    terms = plus.optimizer_steps[0].loss(model, batch, torch.Generator().manual_seed(0))
    assert {"local_l1", "local_pyramid"} < set(terms)
    for name in ("local_l1", "local_pyramid"):
        assert float(terms[name]) > 0


@pytest.mark.parametrize("plus", [False, True])
def test_the_discriminator_counts_from_the_step_that_is_asked(folder: Path, tmp_path: Path, plus: bool) -> None:
    stage = FaceVid2VidStage(options(folder, tmp_path, plus=plus, adversarial_from=5), config=TINY_F)
    model = stage.build()
    for step, counts in ((4, False), (5, True)):
        stage.at_step(step)
        batch = stage.batch(np.random.default_rng(0), 1)
        terms = stage.optimizer_steps[0].loss(model, batch, torch.Generator().manual_seed(0))
        assert ("adversarial" in terms) == counts, step
        assert ("local_l1" in terms) == plus


def test_a_step_can_be_counted_on_the_meta_device(folder: Path, tmp_path: Path) -> None:
    stage = FaceVid2VidStage(options(folder, tmp_path, plus=True), config=TINY_F)
    model, batch = stage.sketch()
    for turn in stage.optimizer_steps:
        terms = turn.loss(model, dict(batch), torch.Generator())
        assert all(value.device.type == "meta" for value in terms.values())


def test_one_stage_leads_to_the_next_and_to_control_images(folder: Path, tmp_path: Path) -> None:
    waiting = FaceVid2VidWeights(adversarial_from=100)
    first = FaceVid2VidStage(options(folder, tmp_path / "f"), config=TINY_F, weights=waiting)
    fresh = first.build().state_dict()
    train(first, first.options)
    trained = checkpoints.find(tmp_path / "f").averaged_weights()
    for name, value in fresh.items():  # while it waits the discriminator stays as it is, byte for byte
        assert torch.equal(value, trained[name]) == name.startswith("discriminator.") or name.endswith(".u"), name

    model = first.build()
    checkpoints.fill(model, trained)
    with torch.no_grad():
        assert first.pictures(model.eval()).shape == (6 * SIDE, 4 * SIDE, 3)
        assert [frame.shape for frame in first.clip(model)] == [(SIDE, 3 * SIDE, 3)] * 8
    first.export(model, tmp_path / "export")

    for start in ("f", "export"):
        plus = FaceVid2VidStage(options(folder, tmp_path / "x", plus=True, start=str(tmp_path / start)), config=TINY_F)
        begun = plus.build()
        plus.start(begun, tmp_path / start)
        same = begun.state_dict()["f.generator.mix.weight"]
        torch.testing.assert_close(same, trained["f.generator.mix.weight"], atol=1e-3, rtol=1e-3)
    after = train(plus, plus.options.changed(out=str(tmp_path / "plus")))
    assert after.finished
    assert {"generator/local_l1", "generator/adversarial", "discriminator/discriminator"} < set(after.losses)

    reenact = face_vid2vid(str(tmp_path / "export"))
    pictures = list(np.load(folder / "group_000_frames.npy")[0, :3])
    made = reenact(pictures[0], pictures)
    assert [picture.shape for picture in made] == [(SIDE, SIDE, 3)] * 3
    pipe = FaceVid2VidPipeline.from_pretrained(tmp_path / "export")
    pipe.set_portrait(pictures[0])
    assert np.array_equal(np.stack(made), pipe.animate(pictures, output_type="np").frames)  # absolute motion
    larger = [np.kron(picture, np.ones((2, 2, 1), np.uint8)) for picture in pictures]
    assert load_reenactor(tmp_path / "export")(larger[0], larger[1:])[0].shape == (2 * SIDE, 2 * SIDE, 3)


def test_a_smaller_side_comes_first_and_is_gone_on_from(folder: Path, tmp_path: Path) -> None:
    given = {"data": (str(folder),), "batch_size": 1, "steps": 1, "precision": "fp32", "save_every": 1000}
    before: str | None = None
    for side in (64, 128):
        config = configure("face-vid2vid", side=side, out=str(tmp_path / str(side)), start=before, **given)
        stage = make_stage(config)
        assert stage.batch(np.random.default_rng(0), 2)["target"].shape[-1] == side
        train(stage, config)
        before = config.out
        model = stage.build()
        stage.start(model, Path(before))
        stage.export(model, tmp_path / f"export{side}")
        assert FaceVid2VidPipeline.from_pretrained(tmp_path / f"export{side}").image_size == side
    for size, side, step in (("nano", 100, 64), ("full", 192, 128)):
        odd = configure("face-vid2vid", size=size, side=side, out=str(tmp_path / "odd"), **given)
        with pytest.raises(InputError, match=f"--side is {side}: give a multiple of {step}"):
            make_stage(odd).check()


def test_the_stages_are_registered_and_have_a_command(folder: Path, tmp_path: Path) -> None:
    for name in ("face-vid2vid", "face-vid2vid-plus"):
        stage = make_stage(options(folder, tmp_path, plus=name.endswith("plus")))
        assert isinstance(stage, FaceVid2VidStage)
        assert (stage.name, stage.plus) == (name, name.endswith("plus"))
    full = make_stage(options(folder, tmp_path, size="full"))
    assert isinstance(full, FaceVid2VidStage)
    assert (full.steps, full.batch_size, full.weights.pose, full.config.keypoint_count) == (200_000, 4, 20.0, 15)
    shown = CliRunner().invoke(app, ["train", "face-vid2vid", "--help"])
    assert shown.exit_code == 0
    assert "--vgg" in shown.output and "--joint" not in shown.output
