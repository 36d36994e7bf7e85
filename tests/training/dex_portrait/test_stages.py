"""DeX-Portrait's three stages: what they draw, what learns, what their losses mean, and that one leads to the next."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mien.errors import InputError, WeightsError
from mien.models.dex_portrait.pose import codes_of_head_poses
from mien.pipelines.dex_portrait import ENCODERS, DeXPortraitPipeline
from mien.training.data.avatar_groups import AvatarClips
from mien.training.data.samples import FaceFrame, SampleSpec, SourceDrivingSample, choose_motions
from mien.training.dex_portrait.animator import DexAnimator, Dropout, Dropped
from mien.training.dex_portrait.collate import Augmentation, Collate
from mien.training.dex_portrait.losses import (
    anchor_distance,
    gradient_penalty,
    perceptual_distances,
    pose_errors,
)
from mien.training.dex_portrait.motion_trainer import DexMotion, MotionModel, MotionWeights
from mien.training.dex_portrait.temporal import DexTemporal
from mien.training.engine import checkpoints
from mien.training.engine.config import StageConfig
from mien.training.engine.trainer import train
from mien.training.perceptual import PyramidPerceptual, VGGPerceptual
from mien.training.registry import configure, make_stage
from samples import _TEMPLATE, draw_face
from tiny_dex import SMALL_DEX

SIDE = 48
NANO_LIKE = dataclasses.replace(
    SMALL_DEX,
    backbone=dataclasses.replace(SMALL_DEX.backbone, source_in_sample=True, prediction_type="sample"),
)
WEIGHTS = MotionWeights(adversarial_from=2, anchor_steps=4, agreement=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people in 64 motions: faces whose place is the motion and whose colour is the person."""
    out = tmp_path_factory.mktemp("avatars")
    rng = np.random.default_rng(0)
    frames = np.empty((2, 64, SIDE, SIDE, 3), np.uint8)
    landmarks, poses = np.empty((2, 64, 68, 2), np.float32), np.zeros((2, 64, 6), np.float32)
    for motion in range(64):
        centre, radius, mouth = rng.uniform(0.4, 0.6, 2), rng.uniform(0.25, 0.35), rng.uniform(0, 1)
        for person in range(2):
            picture = draw_face(SIDE, SIDE, tuple(centre), radius, mouth)
            frames[person, motion] = np.where(picture == 220, 220 - 90 * person, picture)
            landmarks[person, motion] = (centre + radius * _TEMPLATE) * SIDE
            poses[person, motion] = [0, 0, 0, *(2 * centre - 1), radius]
    np.save(out / "group_000_frames.npy", frames)
    np.savez(out / "group_000_meta.npz", landmarks=landmarks, head_pose=poses, validation=np.array(False))
    return out


def options(folder: Path, out: Path, stage: str, **more: object) -> StageConfig:
    given = {"precision": "fp32", "steps": 2, "batch_size": 2, "show_every": 0, "save_every": 1000, "ema": 0.5, **more}
    return configure(stage, data=(str(folder),), out=str(out), **given)  # type: ignore[arg-type]


def motion_stage(folder: Path, out: Path, **more: object) -> DexMotion:
    return DexMotion(options(folder, out, "dex/motion", **more), config=SMALL_DEX, weights=WEIGHTS)


# -- data


def grey(pictures: torch.Tensor) -> float:
    """Part of the pixels that are the masks' grey."""
    return float(((pictures - (128 / 127.5 - 1)).abs().amax(1) < 1e-4).float().mean())


def test_batches_are_repeatable_and_hold_what_belongs_together(folder: Path) -> None:
    data, make = AvatarClips(folder), Collate(SMALL_DEX, 32)
    first, again = (make.draw(data, np.random.default_rng(3), 2, 4) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["source"].shape == (2, 3, 32, 32)
    assert first["target"].shape == first["masked"].shape == first["crop"].shape == (8, 3, 32, 32)
    assert (first["mask"].shape, first["pose"].shape, first["source_pose"].shape) == ((8, 1, 32, 32), (8, 6), (2, 6))
    # the pose says where the face's middle is: the mask's middle agrees
    x = ((torch.arange(32) + 0.5) / 16 - 1).expand(8, 1, 32, 32)
    middle = (first["mask"] * x).sum((1, 2, 3)) / first["mask"].sum((1, 2, 3))
    assert (middle - first["pose"][:, 3]).abs().max() < 0.1
    # two augmentations of one expression differ, and the masked frames have grey where the eyes were
    assert (first["crop"] - first["again"]).abs().mean() > 0.02
    assert grey(first["masked"]) > 0.03


def test_without_augmentation_everything_is_shown(folder: Path) -> None:
    make = Collate(SMALL_DEX, SIDE, Augmentation(off=True))
    draw = make.draw(AvatarClips(folder), np.random.default_rng(3), 1, 2)
    assert torch.equal(draw["crop"], draw["again"])
    assert grey(draw["masked"]) < 0.01


def test_other_views_go_to_the_expression_encoder_only() -> None:
    """They never become targets, and the pose encoder does not see them."""

    class Coloured:
        def at_step(self, step: int) -> None: ...

        def refresh(self) -> int:
            return 1

        def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
            def frame(colour: int) -> FaceFrame:
                marks = (0.5 + 0.3 * _TEMPLATE) * SIDE
                return FaceFrame(np.full((SIDE, SIDE, 3), colour, np.uint8), marks, np.array([0, 0, 0, 0, 0, 0.4]))

            views = [frame(250)] * spec.frames if spec.views else None
            first = frame(50)
            return SourceDrivingSample(first, [first] * spec.frames, first.landmarks, views=views)

    how = Augmentation(other_view=1.0, color_jitter=0.0)
    draw = Collate(SMALL_DEX, 32, how).draw(Coloured(), np.random.default_rng(0), 1, 2)
    assert (draw["crop"] > 0.9).all()
    assert (draw["target"] < 0).all()
    assert not (draw["masked"] > 0.9).any()


def test_windows_longer_than_a_clip_walk_there_and_back() -> None:
    for seed in range(20):
        walk = choose_motions(np.random.default_rng(seed), 64, SampleSpec(24, clip=True))[1]
        assert len(walk) == 24
        assert {abs(a - b) for a, b in zip(walk, walk[1:], strict=False)} == {1}
        assert all(32 <= m < 48 for m in walk) or all(48 <= m < 64 for m in walk)


def test_folders_without_groups_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no groups of avatars"):
        AvatarClips(tmp_path).sample(np.random.default_rng(0), SampleSpec(2))
    unposed = FaceFrame(draw_face(SIDE, SIDE), _TEMPLATE * SIDE)
    with pytest.raises(InputError, match="do not know head poses"):
        Collate(SMALL_DEX, 32)([SourceDrivingSample(unposed, [unposed], _TEMPLATE)], np.random.default_rng(0))


# -- losses


def test_the_perceptual_distance_is_zero_for_the_same_and_grows_with_blur() -> None:
    picture = torch.from_numpy(draw_face(64, 64)).permute(2, 0, 1)[None].float() / 127.5 - 1
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:44, 20:44] = 1
    distance = PyramidPerceptual()
    assert perceptual_distances(distance, picture, picture, mask) == (0, 0)
    soft, softer = (torch.nn.functional.avg_pool2d(picture, k, 1, k // 2) for k in (3, 7))
    near, far = (perceptual_distances(distance, blurred, picture, mask) for blurred in (soft, softer))
    assert 0 < near[0] < far[0]
    assert 0 < near[1] < near[0]
    outside = picture.clone()
    outside[..., :8, :8] = 1
    whole, inside = perceptual_distances(distance, outside, picture, mask)
    assert inside < 0.01 * whole
    assert distance.name == "pyramid"


class SmallVGG(VGGPerceptual):
    _GROUPS = ((4, 4), (6, 6))


def test_vgg_takes_torchvisions_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    shapes = {0: (4, 3), 2: (4, 4), 5: (6, 4), 7: (6, 6)}
    tensors = {f"features.{i}.weight": torch.randn(*shape, 3, 3) for i, shape in shapes.items()}
    tensors |= {f"features.{i}.bias": torch.randn(shape[0]) for i, shape in shapes.items()}
    save_file(tensors, path)
    features = SmallVGG(path).features(torch.randn(1, 3, 16, 16))
    assert [tuple(f.shape) for f in features] == [(1, 4, 16, 16), (1, 6, 8, 8)]
    length = features[0].square().sum(1)  # 0 where no channel answers
    assert float(length.median()) == pytest.approx(1, abs=1e-3)
    with pytest.raises(WeightsError, match=r"is no VGG16: features\.0\.weight"):
        VGGPerceptual(path)


def test_pose_distances_are_what_they_say() -> None:
    ground_truth = torch.tensor([[0.0, 0.1, 0, 0.2, 0, 0.3]])
    assert anchor_distance(ground_truth, ground_truth) == 0
    codes = torch.tensor([[0.0, 0.1 + torch.pi / 18, 0, 0.5, 0.4, 0.1]])
    turn, place, size = pose_errors(codes, ground_truth)
    assert (float(turn), float(place), float(size)) == pytest.approx((10, 0.5, 0.2), abs=1e-3)
    assert anchor_distance(codes, ground_truth) == pytest.approx(torch.pi / 18 + 0.3 + 0.4 + 0.2, abs=1e-5)


def test_the_penalty_is_the_squared_gradient() -> None:
    class Sum(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * x.sum((1, 2, 3))

    assert gradient_penalty(Sum(), torch.randn(2, 1, 2, 2)) == pytest.approx(9 * 4)


# -- dex/motion


def test_the_motion_trainer_learns_and_its_terms_come_when_they_should(folder: Path, tmp_path: Path) -> None:
    stage = motion_stage(folder, tmp_path)
    model = stage.build()
    assert isinstance(model, MotionModel)
    stage.at_step(0)
    batch = stage.batch(np.random.default_rng(0), 2)
    assert stage.images(batch) == 8
    generator, optimizer = torch.Generator(), torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        terms = stage.optimizer_steps[0].loss(model, batch, generator)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        losses.append(terms["l1"].item())
        optimizer.step()
    assert set(terms) == {"l1", "pyramid", "face_pyramid", "anchor", "agreement"}
    assert losses[-1] < 0.9 * losses[0]  # the face's form weighs most, so that colours come later
    for part in stage.optimizer_steps[0].parts:
        assert all(p.grad is not None for p in getattr(model, part).parameters()), part
    assert set(stage.optimizer_steps[1].loss(model, batch, generator)) == {"waiting"}
    batch["step"] = torch.tensor(16)
    assert "adversarial" in stage.optimizer_steps[0].loss(model, batch, generator)
    assert set(stage.optimizer_steps[1].loss(model, batch, generator)) == {"discriminator", "r1"}
    batch["step"] = torch.tensor(17)
    assert set(stage.optimizer_steps[1].loss(model, batch, generator)) == {"discriminator"}
    assert [stage.anchor_weight(step) for step in (0, 2, 4, 100)] == pytest.approx([1, 0.55, 0.1, 0.1])
    assert codes_of_head_poses(np.array([[0, 0, 0, 0, 0, 0.4]])) == pytest.approx(0)


def test_presets_and_stages_are_known_by_name(folder: Path, tmp_path: Path) -> None:
    assert motion_stage(folder, tmp_path, preset="no-augmentation").collate.augmentation.off
    with pytest.raises(InputError, match="--preset is 'nonsense', but it must be one of"):
        motion_stage(folder, tmp_path, preset="nonsense")
    for name in ("dex/motion", "dex/animator", "dex/temporal"):
        stage = make_stage(options(folder, tmp_path, name))
        assert stage.name == name


def test_a_small_animator_gets_its_autoencoder_from_a_run_of_its_own(folder: Path, tmp_path: Path) -> None:
    stage = make_stage(options(folder, tmp_path, "dex/animator"))
    model = stage.build()
    own = {name: value for name, value in model.state_dict().items() if name.startswith(ENCODERS)}
    checkpoints.save(tmp_path / "encoders", 1, own, own, {})
    with pytest.raises(InputError, match="has encoders alone: give --vae"):
        stage.start(model, tmp_path / "encoders")
    model.vae.save_pretrained(tmp_path / "vae")
    given = make_stage(options(folder, tmp_path, "dex/animator", vae=str(tmp_path / "vae")))
    again = given.build()
    given.start(again, tmp_path / "encoders")
    assert torch.equal(again.vae.decoder.conv_in.weight, model.vae.decoder.conv_in.weight)


# -- dex/animator and dex/temporal


def animator(folder: Path, out: Path, kind: type[DexAnimator] = DexAnimator, **more: object) -> DexAnimator:
    dropout = more.pop("dropout", None)
    config = more.pop("config", SMALL_DEX)
    return kind(options(folder, out, kind.name, **more), config=config, dropout=dropout)  # type: ignore[arg-type]


def awake(model: torch.nn.Module) -> torch.nn.Module:
    """Poses that are not all the identity, as a trained encoder gives them."""
    weight = model.get_parameter("pose_encoder.head.weight")
    torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("config", [SMALL_DEX, NANO_LIKE], ids=["eps", "sample"])
def test_what_learns_gets_a_gradient_and_the_rest_none(folder: Path, tmp_path: Path, config: object) -> None:
    stage = animator(folder, tmp_path, config=config, dropout=Dropout(0.5, 0.5, 0.5))
    model = awake(stage.build())
    batch = stage.batch(np.random.default_rng(0), 3)
    model.requires_grad_(False)
    for part in stage.optimizer_steps[0].parts:
        getattr(model, part).requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    sum(sum(stage.optimizer_steps[0].loss(model, batch, generator).values()) for _ in range(3)).backward()
    injection = model.injection
    if config is NANO_LIKE:  # behind the zero convolutions of the other one no gradient comes yet
        assert injection.null_tokens.grad.abs().sum() > 0
    for name, parameter in model.named_parameters():
        if not name.startswith(stage.optimizer_steps[0].parts):
            assert parameter.grad is None, name
    assert model.appearance_reference.conv_in.weight.grad.abs().sum() > 0
    assert model.unet.conv_in.weight.grad[:, -6:].abs().sum() > 0
    assert all(warp.conv.weight.grad.abs().sum() > 0 for warp in injection.warps)


def test_conditions_are_dropped_independently_and_never_all_references() -> None:
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(3)
    for _ in range(500):
        dropped = Dropped.draw(4, Dropout(0.1, 0.2, 0.3), generator)
        counts += torch.stack([dropped.everything, dropped.expression, dropped.pose]).float().mean(1)
    assert (counts / 500).tolist() == pytest.approx([0.1, 0.2, 0.3], abs=0.03)
    certain = Dropped.draw(3, Dropout(1.0, 0.0, 0.0), generator)
    assert int(certain.everything.sum()) == 2


@torch.no_grad()
def test_a_source_that_lost_everything_is_made_from_noise_alone(folder: Path, tmp_path: Path) -> None:
    stage = animator(folder, tmp_path, config=NANO_LIKE)
    model = stage.build()
    nets, batch = model.networks(False), stage.batch(np.random.default_rng(0), 2)
    codes, source = stage._codes(nets, batch), model.encode(batch["source"])
    noisy, t = torch.randn(8, 4, 16, 16), torch.full((8,), 500)
    none = torch.zeros(2, dtype=torch.bool)

    def predict(everything: list[bool], latents: torch.Tensor) -> torch.Tensor:
        dropped = Dropped(torch.tensor(everything), none, none)
        return stage._predict(nets, noisy, t, stage._given(nets, latents, codes, dropped, 4), dropped, 4)

    base, lost = predict([False, False], source), predict([False, True], source)
    torch.testing.assert_close(base[:4], lost[:4], atol=1e-4, rtol=1e-4)
    assert (base[4:] - lost[4:]).abs().mean() > 1e-3
    # what is lost no longer matters
    torch.testing.assert_close(predict([False, True], torch.cat([source[:1], source[1:] + 1])), lost)


def test_the_ablations_switch_off_what_they_name(folder: Path, tmp_path: Path) -> None:
    losses = set()
    for preset in ("paper", "no-ray-map", "no-warping"):
        stage = animator(folder, tmp_path, config=NANO_LIKE, preset=preset, dropout=Dropout(0, 0, 0))
        model = awake(stage.build())
        batch = stage.batch(np.random.default_rng(0), 2)
        with torch.no_grad():
            losses.add(
                float(sum(stage.optimizer_steps[0].loss(model, batch, torch.Generator().manual_seed(0)).values()))
            )
    assert len(losses) == 3
    assert animator(folder, tmp_path, preset="no-augmentation").collate.augmentation.off
    with pytest.raises(InputError, match="--preset is 'nonsense', but it must be one of"):
        animator(folder, tmp_path, preset="nonsense")


def test_temporal_windows_have_24_frames_of_one_clip_and_the_modules_alone_learn(folder: Path, tmp_path: Path) -> None:
    stage = animator(folder, tmp_path, DexTemporal)
    assert (stage.drivers, stage.optimizer_steps[0].parts) == (24, ("temporal",))
    few = animator(folder, tmp_path, DexTemporal, frames=5)
    assert few.batch(np.random.default_rng(0), 1)["target"].shape[0] == 5


def test_one_stage_leads_to_the_next_and_to_a_pipeline(folder: Path, tmp_path: Path) -> None:
    motion = motion_stage(folder, tmp_path / "motion", steps=3)
    train(motion, motion.options)
    first = animator(folder, tmp_path / "animator", config=NANO_LIKE, start=str(tmp_path / "motion"))
    train(first, first.options)
    last = animator(
        folder,
        tmp_path / "temporal",
        DexTemporal,
        config=NANO_LIKE,
        start=str(tmp_path / "animator"),
        frames=4,
        batch_size=1,
    )
    outcome = train(last, last.options)
    assert outcome.finished

    runs = {name: checkpoints.find(tmp_path / name).averaged_weights() for name in ("motion", "animator", "temporal")}
    for name, value in runs["motion"].items():
        if name.startswith(("pose_encoder.", "expression_encoder.")):
            assert torch.equal(value, runs["temporal"][name]), name
    changed = {
        name.split(".")[0] for name, value in runs["animator"].items() if not torch.equal(value, runs["temporal"][name])
    }
    assert changed == {"temporal"}

    model = last.build()
    checkpoints.fill(model, runs["temporal"])
    with torch.no_grad():
        assert last.pictures(model.eval()).shape == (4 * 32, 5 * 32, 3)
        assert motion.pictures(motion.build().eval()).shape == (6 * 32, 5 * 32, 3)
    last.export(model, tmp_path / "export")
    pipe = DeXPortraitPipeline.from_pretrained(tmp_path / "export")
    pipe.set_portrait(draw_face(64, 64), 0.5 + 0.25 * _TEMPLATE)
    frames = pipe.animate(pipe.portrait, pipe.portrait, output_type="np").frames
    assert frames.shape == (1, 32, 32, 3)
    assert pipe.temporal is not None
    motion.export(motion.build(), tmp_path / "encoders")
    assert (tmp_path / "encoders" / "pose_encoder" / "config.json").is_file()
