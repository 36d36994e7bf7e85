"""DeX-Portrait on face windows: what a batch shows, the stages, and the folder that comes of them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import InputError, WeightsError
from mien.geometry.pose import rotation_matrix
from mien.models.dex_portrait import Conditions, Pose
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.training.data.samples import FaceFrame, SampleSpec, SourceDrivingSample
from mien.training.dex_portrait.animator import Dropped
from mien.training.dex_portrait.encoders import DexEncoders
from mien.training.dex_portrait.window_data import collate, half_moved, posed_as
from mien.training.dex_portrait.window_stage import DexWindowStage
from mien.training.engine import checkpoints
from mien.training.engine.checkpoints import fill
from mien.training.engine.stage import trained_names
from mien.training.engine.trainer import train
from mien.training.registry import configure
from mien.training.x_portrait.window_export import to_pipeline
from mien.training.x_portrait.window_model import LAST, FaceWindowModel, read_start
from mien.training.x_portrait.window_rows import WindowSpec
from tiny import TINY_WINDOW, tiny_networks
from tiny_dex import TINY_DEX_WINDOW

from ..x_portrait.test_face_windows import frame
from .test_encoders import SMALL, drawn_group


def x_portrait(folder: Path) -> FaceWindowModel:
    """A random X-Portrait for face windows in a folder, as its stages export it, and its networks in single
    precision."""
    networks = tiny_networks(TINY_WINDOW, seed=3)
    model = FaceWindowModel(networks)
    to_pipeline(deepcopy(model), TINY_WINDOW).save_pretrained(folder)
    fill(model, read_start(folder, model))
    return model


POSE = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.45], np.float32)


def posed(gaze: float, skin: tuple[int, int, int], centre: tuple[float, float] = (120.0, 116.0)) -> FaceFrame:
    place = (np.array([centre[0], centre[1]]) - 116) / 120
    return replace(frame(gaze, skin, centre), pose=POSE + np.array([0, 0, 0, *place, 0], np.float32))


class OneSample:
    """Somebody who looks ahead, told to look aside by another one elsewhere."""

    asked: SampleSpec | None = None

    def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
        self.asked = spec
        own, other = (200, 150, 120), (90, 60, 50)
        targets = [posed(6, own), posed(-6, own, (110, 120))][: spec.frames] * (1 if spec.frames < 3 else 4)
        drivers = [posed(6, other, (132, 124)), posed(-6, other)][: spec.frames] * (1 if spec.frames < 3 else 4)
        return SourceDrivingSample(posed(0, own), targets, targets[0].landmarks, drivers)

    def at_step(self, step: int) -> None:
        pass

    def refresh(self) -> int:
        return 1


def stage(name: str = "face-window", **options) -> DexWindowStage:  # type: ignore[no-untyped-def]
    config = configure(f"dex/{name}", **{"reading_weight": 0.0, **options})
    return DexWindowStage(config, TINY_DEX_WINDOW, OneSample())


def test_a_portrait_is_posed_with_its_own_expression() -> None:
    """It looks aside before and after, where its neutral face goes, as large as that is, turned as the head is."""
    source, target = posed(6, (0, 0, 0)), posed(0, (0, 0, 0), (100, 90))
    target = replace(target, pose=POSE * [1, 1, 1, 1, 1, 2] + np.array([0, 0, np.pi / 2, 0, 0, 0], np.float32))
    assert target.neutral is not None
    moved = posed_as(source, target) - target.neutral
    np.testing.assert_allclose(moved[:68], 0, atol=1e-4)
    wanted = 12 * (rotation_matrix(np.array([0, 0, np.pi / 2])) @ [1, 0, 0])[:2]
    np.testing.assert_allclose(moved[68:], np.tile(wanted, (2, 1)), atol=1e-4)


def test_a_portrait_is_moved_part_of_the_way_to_the_targets_expression() -> None:
    """Its pupils go from where it looks towards where the target does, or stay; without errors they arrive."""
    source, target = posed(0, (0, 0, 0)), posed(6, (0, 0, 0))
    own, wanted = posed_as(source, target), target.keypoints()
    np.testing.assert_allclose(half_moved(source, target, None), wanted, atol=1e-4)
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        went = half_moved(source, target, rng) - own
        np.testing.assert_allclose(went[:68], (wanted - own)[:68] * 0, atol=1e-3)
        shares.append(float(went[68, 0] / (wanted - own)[68, 0]))
    assert 0.05 < np.mean(np.array(shares) == 0) < 0.3
    assert min(share for share in shares if share) >= 0.5 and max(shares) <= 1.1


def test_a_batch_shows_the_expression_in_the_crop() -> None:
    data = OneSample()
    made = collate(
        [data.sample(np.random.default_rng(0), SampleSpec(2))],
        np.random.default_rng(3),
        WindowSpec(1, 2, 64, errors=False),
        32,
    )
    assert made.moved.shape == made.target.shape == (2, 3, 64, 64) and made.driver.shape == made.again.shape == (
        2,
        3,
        32,
        32,
    )
    assert made.pose.shape == (2, 6) and made.source_pose.shape == (1, 6)
    torch.testing.assert_close(made.pose, made.source_pose.expand(2, -1), atol=1e-3, rtol=0)
    # the crop alone is another person's; the portrait was moved, and shows nothing that its own picture has not
    assert float((made.moved[0] - made.moved[1]).abs().mean()) < 0.03
    assert float((made.target[0] - made.target[1]).abs().amax()) > 0.5
    assert float((made.driver[0] - made.driver[1]).abs().amax()) > 0.5


def test_losses_fall_and_the_result_is_a_pipeline(tmp_path: Path) -> None:
    options = {"out": str(tmp_path / "run"), "steps": 80, "batch_size": 2, "show_every": 0, "log_every": 80}
    made = stage(**options, precision="fp32", learning_rate=5e-3)
    model = made.build()
    batch = made.batch(np.random.default_rng(0), 2)
    assert made.data.asked == SampleSpec(2, drivers=True, elsewhere=True)  # type: ignore[union-attr]

    def total(model: torch.nn.Module) -> float:
        with torch.no_grad():
            return float(sum(made.loss(model, batch, torch.Generator().manual_seed(0)).values()))

    before = total(model)
    assert train(made, made.options).finished
    trained = made.build()
    made.start(trained, tmp_path / "run")
    assert total(trained) < 0.9 * before
    made.export(trained, tmp_path / "model")
    pipe = DeXPortraitPipeline.from_pretrained(tmp_path / "model")
    assert pipe.face_window == 32 and pipe.temporal is None and pipe.default_options["overlap"] == 0
    again = made.build()
    made.start(again, tmp_path / "model")
    assert total(again) == pytest.approx(total(trained), rel=0.02), "float16"
    assert made.pictures(trained).shape == (8 * 32, 5 * 32, 3)


def test_the_code_decides_what_is_painted_and_the_pose_is_seen() -> None:
    made = stage()
    model = made.build().eval()
    batch = made.batch(np.random.default_rng(0), 1)

    def painted(**changed: torch.Tensor) -> torch.Tensor:
        given = made._given({**batch, **changed})
        with torch.no_grad():
            return made._made(model, given, torch.full((2,), 999), torch.Generator().manual_seed(0), learning=False)

    for parameter in model.unet.conv_out.parameters():  # at first it changes nothing
        torch.nn.init.normal_(parameter, std=0.3)
    for parameter in model.window_head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    plain = painted()
    assert not torch.equal(plain, painted(driver=batch["driver"].flip(0)))
    turned = batch["pose"].clone()
    turned[:, 1] += 0.5
    assert not torch.equal(plain, painted(pose=turned))
    torch.testing.assert_close(plain, painted(again=batch["driver"]))


def test_what_guidance_leads_away_from_is_learned_without_portrait_pose_and_expression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of two sources loses everything: only what is painted on is left to it, and nobody else is changed by it."""
    made = stage()
    model = made.build().eval()
    for part in (model.unet.conv_out, model.window_head):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    batch = made.batch(np.random.default_rng(0), 2)

    @torch.no_grad()
    def painted(learning: bool, **changed: torch.Tensor) -> torch.Tensor:
        given = made._given({**batch, **changed})
        return made._made(model, given, torch.full((4,), 999), torch.Generator().manual_seed(0), learning)

    second = Dropped(*(torch.tensor(lost) for lost in ([False, True], [False, False], [False, False])))
    whole = painted(False)
    monkeypatch.setattr(Dropped, "draw", lambda *given: second)
    dropped = painted(True)
    torch.testing.assert_close(dropped[:2], whole[:2], atol=1e-3, rtol=1e-2)
    assert not torch.allclose(dropped[2:], whole[2:], atol=0.05)
    torch.testing.assert_close(dropped, painted(True, **{
        name: torch.cat([batch[name][: len(batch[name]) // 2], torch.randn_like(batch[name][len(batch[name]) // 2 :])])
        for name in ("source", "source_pose", "pose", "driver")
    }))  # fmt: skip


def test_ablations_do_without_what_they_name(tmp_path: Path) -> None:
    for preset, kept in (("no-ray-map", (False, True)), ("no-warping", (True, False))):
        made = stage(preset=preset)
        made.export(made.build(), tmp_path / preset)
        pipe = DeXPortraitPipeline.from_pretrained(tmp_path / preset)
        assert (pipe.config.ray_maps, pipe.config.warping) == kept
    assert not stage(preset="no-augmentation").spec(1).errors


@torch.no_grad()
def test_it_starts_from_x_portrait_as_that_is_without_its_controls(tmp_path: Path) -> None:
    x = x_portrait(tmp_path / "nano")
    made = stage(start=str(tmp_path / "nano"))
    model = made.build().eval()
    untaught = deepcopy(model.expression_encoder.state_dict())
    made.start(model, tmp_path / "nano")
    noisy, moved = torch.randn(2, 1, 48, 8, 8, generator=torch.Generator().manual_seed(0))
    last = torch.tensor(LAST)
    nets = x.networks(("temporal",))
    theirs = nets.unet.predict_with_features(
        noisy, last, nets.empty_prompt(), nets.read_appearance([moved], last), source=moved
    )
    ours = model.networks(False)
    bank = ours.read_appearance([moved])
    features = ours.unet.predict_with_features(noisy, last, ours.empty_prompt(), reference=bank, source=moved)[1]
    torch.testing.assert_close(features, theirs[1], atol=1e-4, rtol=1e-4)
    # poses and expressions are seen from the first step on, and disturb little
    pose = Pose.from_code(torch.tensor([[0.1, 0.3, 0, 0.1, 0, 0]]))
    still = Pose.from_code(torch.zeros(1, 6))
    given = Conditions(bank, moved, still, pose, ours.injection.tokens(torch.randn(1, 16)))
    seen = ours.unet.predict_with_features(noisy, last, **ours._shown(noisy, 1, given))[1]
    assert 0 < float((seen - features).abs().mean()) < 0.3 * float(features.abs().mean())
    # at first the picture is that of the moved portrait, as it would be with an untaught model
    change, start = ours.change(noisy, last, 1, Conditions(bank, moved))
    everything = nets.change(noisy, last, 1, nets.read_appearance([moved], last), None, moved)[0].picture(start)
    off, theirs_off = ((picture - start).abs().mean() for picture in (change.picture(start), everything))
    assert 0 < float(off) < 0.2 * float(theirs_off)
    assert all(torch.equal(untaught[name], value) for name, value in model.expression_encoder.state_dict().items())
    # a run is as good as the folder that it exports
    checkpoints.save(tmp_path / "run", 1, x.state_dict(), {}, {})
    again = made.build()
    made.start(again, tmp_path / "run")
    whole = model.state_dict()
    assert all(torch.equal(whole[name], value) for name, value in again.state_dict().items())


def test_another_size_of_x_portrait_is_refused(tmp_path: Path) -> None:
    wide = replace(TINY_WINDOW, block_out_channels=(8, 24))
    to_pipeline(FaceWindowModel(tiny_networks(wide)), wide).save_pretrained(tmp_path / "nano")
    made = stage()
    with pytest.raises(WeightsError, match="do not fit the stage"):
        made.start(made.build(), tmp_path / "nano")


def test_only_what_looks_along_time_learns_in_its_stage() -> None:
    made = stage("face-window-temporal")
    model = made.build()
    names = trained_names(model, made.optimizer_steps)
    assert names and all(name.startswith("temporal.") for name in names)
    losses = made.loss(model, made.batch(np.random.default_rng(0), 1), torch.Generator().manual_seed(0))
    assert all(torch.isfinite(value) for value in losses.values())
    frozen = stage(learn_encoder=False)
    assert not any("encoder" in name for name in trained_names(model, frozen.optimizer_steps))


def test_any_side_that_windows_have_folds_into_volumes() -> None:
    made = DexWindowStage(configure("dex/face-window", side=80, reading_weight=0.0), TINY_DEX_WINDOW, OneSample())
    losses = made.loss(made.build(), made.batch(np.random.default_rng(0), 1), torch.Generator().manual_seed(0))
    assert all(torch.isfinite(value) for value in losses.values())


def test_encoders_are_handed_on_to_the_window_model(tmp_path: Path) -> None:
    folder = tmp_path / "groups"
    folder.mkdir()
    drawn_group(folder)
    options = {"data": (str(folder),), "out": str(tmp_path / "run"), "steps": 1, "batch_size": 2, "show_every": 0}
    config = configure("dex/face-window-encoder", **options, precision="fp32")
    assert train(DexEncoders(config, SMALL), config).finished
    trained = checkpoints.find(tmp_path / "run").averaged_weights()["expression_encoder.head.weight"]

    def stage(**more: str) -> DexWindowStage:
        return DexWindowStage(configure("dex/face-window", reading_weight=0.0, **more), SMALL, OneSample())

    made = stage()
    window = made.build()
    made.start(window, tmp_path / "run")
    assert torch.equal(trained, window.expression_encoder.head.weight)
    # and beside a model that is started from
    x_portrait(tmp_path / "nano")
    both = stage(start=str(tmp_path / "nano"), encoders=str(tmp_path / "run"))
    window = both.build()
    both.start(window, tmp_path / "nano")
    assert torch.equal(trained, window.expression_encoder.head.weight)
    with pytest.raises(InputError, match="--encoders goes with --start"):
        stage(encoders=str(tmp_path / "run"))
    wrong = stage(start=str(tmp_path / "nano"), encoders=str(tmp_path))
    with pytest.raises(InputError, match="holds no checkpoint"):
        wrong.start(window, tmp_path / "nano")
