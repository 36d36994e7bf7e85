"""The reenactor's stage, its linear basis, and X-Portrait's stages that start from its pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from disc_avatars import CONFIG, write_discs
from mien.avatars.camera import FOCAL
from mien.errors import InputError
from mien.geometry import HeadPose
from mien.geometry.mirror import MIRROR, mirrored_landmarks
from mien.geometry.pose import in_half_faces
from mien.models.reenactor import Reenactor, ReenactorConfig
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.training.data.avatar_groups import AvatarClips
from mien.training.data.samples import SampleSpec
from mien.training.engine.stage import part_parameters
from mien.training.reenactor.keypoint_basis import fit_basis, head_shapes
from mien.training.reenactor.stage import ReenactorStage, ReenactorStageConfig, render
from mien.training.registry import configure
from mien.training.vae import pyramid_l1
from mien.training.x_portrait.collate import BatchSpec, TrainingBatch, draw_batch
from mien.training.x_portrait.losses import start_latents
from mien.training.x_portrait.model import PortraitModel
from mien.training.x_portrait.recipes import recipe_for
from mien.training.x_portrait.stage import PortraitStage

SMALL = ReenactorConfig(64, (4, 4, 8), (8, 8, 8), (4, 4, 8, 8), 1, 4, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people in 64 motions."""
    return write_discs(tmp_path_factory.mktemp("avatars"), steady=True)


def portrait_stage(folder: Path, reenactor: Path, **more: object) -> PortraitStage:
    """The stage of C from the reenactor's pictures."""
    chosen = configure("x-portrait/motion", data=(str(folder),), out="out", precision="fp32", reenactor=str(reenactor))
    chosen = chosen.changed(**more)
    recipe = dataclasses.replace(recipe_for(chosen), batch_size=1, frames=2, size=64)
    return PortraitStage(chosen, CONFIG, recipe=recipe)


def options(folder: Path, **more: object) -> ReenactorStageConfig:
    made: ReenactorStageConfig = configure("reenactor", data=(str(folder),), out="out").changed(**more)
    return made


def test_it_learns_to_reenact(folder: Path) -> None:
    learner = ReenactorStage(options(folder, window=128, frames=2), SMALL)
    model, batch = learner.build(), learner.batch(np.random.default_rng(0), 2)
    assert batch["target"].shape == (4, 3, 128, 128) and batch["source"].shape == (2, 3, 256, 256)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = torch.stack(list(learner.loss(model, batch, torch.Generator()).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0], losses


def test_a_discriminator_learns_beside_it_and_is_not_exported(folder: Path, tmp_path: Path) -> None:
    learner = ReenactorStage(options(folder, window=128, frames=2, preset="sharp"), SMALL)
    model, batch = learner.build(), learner.batch(np.random.default_rng(0), 2)
    for turn, factor in zip(learner.optimizer_steps, (0.85, 0.9), strict=True):
        trained = [p for part in turn.parts for p in part_parameters(model, part).values()]
        optimizer, losses = torch.optim.Adam(trained, 4e-3), []
        for _ in range(30):
            given = dict(batch)
            if turn.name == "discriminator":  # against pictures that lack what it is there to ask for
                soft = torch.nn.functional.avg_pool2d(batch["target"], 5, 1, 2, count_include_pad=False)
                given["rendered"] = soft
            loss = torch.stack(list(turn.loss(model, given, torch.Generator()).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < factor * losses[0], (turn.name, losses)
    learner.export(model, tmp_path / "out")
    assert set(Reenactor.from_pretrained(tmp_path / "out").state_dict()) == set(Reenactor.of(SMALL).state_dict())
    plain = ReenactorStage(options(folder), SMALL)
    other = plain.build()
    plain.start(other, tmp_path / "out")
    with pytest.raises(InputError, match="preset"):
        ReenactorStage(options(folder, preset="sharper"), SMALL)


def test_the_moved_source_is_the_target_where_landmarks_say_all(folder: Path) -> None:
    """The data's discs only shift, so that the global and the local motion are both right."""
    learner = ReenactorStage(options(folder, window=128, frames=2), SMALL)
    model = learner.build()
    with torch.no_grad():
        model.motion_field.read.bias[:3] = torch.tensor([-20.0, 20.0, -20.0])  # type: ignore[union-attr]
    errors = []
    for seed in range(4):
        batch = learner.batch(np.random.default_rng(seed), 1)
        boxes = [(int(left), int(top)) for left, top in batch["corners"].tolist()]
        side = batch["target"].shape[-1]
        still = torch.cat([batch["source"][:, :, top : top + side, left : left + side] for left, top in boxes])
        with torch.no_grad():
            moved = render(model, batch).moved
        errors.append([float((shown - batch["target"]).abs().mean()) for shown in (moved, still)])
    moved_error, still_error = np.mean(errors, 0)
    assert moved_error < 0.4 * still_error


def test_the_loss_is_zero_for_the_ground_truth_and_weights_count() -> None:
    want, weight = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    assert float(pyramid_l1(want, want, weight)) == pytest.approx(0, abs=1e-6)
    wrong = want.clone()
    wrong[:, :, :16] += 0.2
    weight[:, :, :16] = 5
    assert pyramid_l1(wrong, want, weight) > 1.2 * pyramid_l1(wrong, want, torch.ones_like(weight))


def test_a_basis_is_found_again() -> None:
    rng = np.random.default_rng(0)
    mean, shapes = rng.normal(size=(70, 3)), rng.normal(size=(52, 70, 3))
    blendshapes, person = rng.uniform(size=(600, 52)), np.arange(600) % 6
    own = rng.normal(size=(6, 70, 3)) * 0.01
    own -= own.mean(0)
    seen = mean + own[person] + np.tensordot(blendshapes, shapes, 1)
    got_mean, got = fit_basis(blendshapes, seen, person, 1e-6)
    np.testing.assert_allclose(got, shapes, atol=1e-3)
    np.testing.assert_allclose(got_mean, mean, atol=1e-2)


def test_the_heads_frame_takes_pose_place_size_and_perspective_off() -> None:
    rng, focal = np.random.default_rng(0), FOCAL * 256
    head = in_half_faces(rng.normal(size=(70, 3)))
    rotation = np.stack([HeadPose.from_euler(*rng.uniform(-25, 25, 3)).matrix() for _ in range(5)])
    placed = 60 * (head + [0.3, -0.2, 0.1]) @ rotation.transpose(0, 2, 1)  # [m, 70, 3], pixels
    placed[..., :2] += rng.uniform(-20, 20, (5, 1, 2))
    seen = placed[..., :2] * focal / (focal + placed[..., 2:]) + 128
    meta = {"landmarks": seen[None, :, :68], "depths": placed[None, :, :68, 2], "rotation": rotation}
    meta["pupils"] = np.concatenate([seen, placed[..., 2:]], -1)[None, :, 68:]
    np.testing.assert_allclose(head_shapes(meta)[0], np.tile(head, (5, 1, 1)), atol=1e-6)


def test_a_mirrored_face_mirrored_is_the_face() -> None:
    points = np.random.default_rng(0).uniform(0, 256, (3, 68, 2))
    np.testing.assert_allclose(mirrored_landmarks(mirrored_landmarks(points, 256), 256), points, atol=1e-3)
    assert sorted(MIRROR) == list(range(68)) and MIRROR[36] == 45
    keypoints = np.random.default_rng(1).uniform(0, 256, (70, 2))
    mirrored = mirrored_landmarks(keypoints, 256)
    np.testing.assert_allclose(mirrored[68], [256 - keypoints[69, 0], keypoints[69, 1]], rtol=1e-6)
    np.testing.assert_allclose(mirrored_landmarks(mirrored, 256), keypoints, atol=1e-3)


# -- X-Portrait from there -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reenactor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("reenactor")
    Reenactor.of(SMALL).save_pretrained(out)
    return out


def test_windows_are_cut_from_the_reenactors_whole_picture(folder: Path, reenactor: Path) -> None:
    learner = portrait_stage(folder, reenactor)
    model = learner.build()
    assert isinstance(model, PortraitModel) and model.reenactor is not None
    data = AvatarClips(folder)
    for seed in range(4):  # mirrored and not
        given = draw_batch(data, np.random.default_rng(seed), BatchSpec(2, 2, 64, 256, start=True))
        whole = draw_batch(data, np.random.default_rng(seed), BatchSpec(2, 2, 64, 256, start=True))
        assert given.whole is not None and given.corner is not None and given.driven is not None
        for row, (left, top) in enumerate(given.corner.tolist()):
            cut = given.whole[row, :, top : top + 64, left : left + 64]
            assert torch.equal(cut, given.source[row]) and torch.equal(given.whole, whole.whole)
        latents = start_latents(model, given)
        assert latents is not None and latents.shape == (4, 4, 8, 8)


def test_a_stage_starts_from_the_reenactor_leaves_it_alone_and_exports_it(
    folder: Path,
    reenactor: Path,
    tmp_path: Path,
) -> None:
    learner = portrait_stage(folder, reenactor, joint=True)
    model = learner.build()
    assert "reenactor" in learner.outside()
    batch = learner.batch(np.random.default_rng(0), 1)
    terms = learner.loss(model, batch, torch.Generator().manual_seed(0))
    plain = learner.loss(model, batch | {"driven": batch["driven"] + 0.2}, torch.Generator().manual_seed(0))
    assert not torch.equal(terms["denoise"], plain["denoise"])
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is None for parameter in model.reenactor.parameters())  # type: ignore[union-attr]
    learner.export(model.eval().requires_grad_(False), tmp_path / "made")
    assert XPortraitPipeline.from_pretrained(tmp_path / "made").reenactor is not None


def test_data_without_landmarks_of_the_source_are_refused(folder: Path) -> None:
    sample = AvatarClips(folder).sample(np.random.default_rng(0), SampleSpec(2, drivers=True))
    unmarked = [dataclasses.replace(frame, pupils=None) for frame in (sample.source, *sample.targets)]

    class Unmarked:
        def sample(self, rng: np.random.Generator, spec: SampleSpec) -> object:
            return dataclasses.replace(sample, source=unmarked[0], targets=unmarked[1:])

    with pytest.raises(InputError, match="--reenactor needs avatars"):
        draw_batch(Unmarked(), np.random.default_rng(0), BatchSpec(1, 2, 64, start=True))  # type: ignore[arg-type]
    assert (
        TrainingBatch.of(draw_batch(Unmarked(), np.random.default_rng(0), BatchSpec(1, 2, 64)).batch()).driven is None
    )  # type: ignore[arg-type]
