"""Full size in small: a backbone from a local folder, frozen and outside of checkpoints; the dry run's counts."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from launching import launch
from mien.errors import InputError, WeightsError
from mien.models.x_portrait import VaeConfig
from mien.training import dry_run, dry_run_beside
from mien.training.engine import checkpoints, trainer
from mien.training.engine.sharding import here
from mien.training.engine.trainer import train
from mien.training.registry import configure
from mien.training.x_portrait.export import to_pipeline
from mien.training.x_portrait.model import PortraitModel, config_of, from_backbone
from mien.training.x_portrait.recipes import recipe_for
from mien.training.x_portrait.stage import PortraitStage
from tiny import TINY

pytestmark = pytest.mark.slow

SMALL = dataclasses.replace(
    TINY,
    image_size=64,
    context_tokens=3,
    hint_channels=(4, 4, 8, 8),
    vae=VaeConfig((4, 4, 8, 8), 1, 4, 4, False, 0.2, 64),
)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion as a folder, with every class of the real one and few weights."""
    folder = tmp_path_factory.mktemp("sd")
    torch.manual_seed(0)
    UNet2DConditionModel(**SMALL.unet()).save_pretrained(folder / "unet")
    AutoencoderKL(**SMALL.vae.to_diffusers()).save_pretrained(folder / "vae")
    save_file({"context": torch.randn(1, 3, SMALL.context_dim)}, folder / "empty_prompt.safetensors")
    return folder


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("groups")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (2, 64, 256, 256, 3), np.uint8)
    np.save(out / "group_000_frames.npy", frames)
    np.save(out / "group_000_sources.npy", frames[:, 0])
    landmarks = rng.uniform(90, 160, (2, 64, 68, 2)).astype(np.float32)
    np.savez(out / "group_000_meta.npz", landmarks=landmarks, validation=False)
    return out


def stage(kind: str, backbone: Path, groups: Path, out: Path, **more: object) -> PortraitStage:
    options = configure(
        f"x-portrait/{kind}", data=(str(groups),), out=str(out), size="full", backbone=str(backbone),
        steps=2, show_every=0, **more,  # type: ignore[arg-type]
    )  # fmt: skip
    config = dataclasses.replace(config_of(backbone), hint_channels=SMALL.hint_channels, temporal_heads=2)
    return PortraitStage(options, config, recipe=dataclasses.replace(recipe_for(options), frames=2))


def test_the_backbone_gives_everything_its_start(backbone: Path) -> None:
    config = dataclasses.replace(config_of(backbone), hint_channels=SMALL.hint_channels, temporal_heads=2)
    assert (config.image_size, config.block_out_channels, config.heads) == (64, (16, 32), (2, 2))
    assert config.prediction_type == "epsilon" and config.vae.scaling_factor == 0.2
    model = from_backbone(backbone, 1, config)
    given = UNet2DConditionModel.from_pretrained(backbone / "unet").state_dict()
    for network in (model.unet, model.appearance_reference, model.motion_control, model.local_control):
        shared = [name for name in network.state_dict() if name in given]
        assert len(shared) > 40
        assert all(torch.equal(network.state_dict()[name], given[name]) for name in shared)
    assert float(model.motion_control.controlnet_mid_block.weight.detach().abs().max()) == 0
    assert float(model.latent_scale) == pytest.approx(0.2)


def test_a_wrong_backbone_is_named(backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="local diffusers folder"):
        config_of(tmp_path)
    (tmp_path / "vae").mkdir()
    (tmp_path / "unet").mkdir()
    for part in ("unet", "vae"):
        (tmp_path / part / "config.json").write_bytes((backbone / part / "config.json").read_bytes())
    save_file({"context": torch.zeros(1, 3, SMALL.context_dim)}, tmp_path / "empty_prompt.safetensors")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        from_backbone(tmp_path, 1, config_of(tmp_path))


def test_r_learns_over_a_frozen_backbone_that_checkpoints_leave_out(
    backbone: Path, groups: Path, tmp_path: Path
) -> None:
    chosen = stage("appearance", backbone, groups, tmp_path / "r")
    start = chosen.build()
    assert isinstance(start, PortraitModel)
    assert start.unet.dtype == torch.bfloat16 and start.appearance_reference.dtype == torch.float32
    before = {name: value.clone() for name, value in start.state_dict().items()}
    outcome = train(chosen, chosen.options)
    assert outcome.finished and np.isfinite(outcome.losses["denoise"])
    saved = checkpoints.find(tmp_path / "r").weights()
    assert not any(name.startswith(("unet.", "vae.", "empty_prompt.")) for name in saved)
    assert any(not torch.equal(before[n], v) for n, v in saved.items() if n.startswith("appearance_reference."))
    following = stage("motion", backbone, groups, tmp_path / "c", start=str(tmp_path / "r"), checkpointing=False)
    train(following, following.options)
    end = checkpoints.find(tmp_path / "c").averaged_weights()
    averaged = checkpoints.find(tmp_path / "r").averaged_weights()
    assert all(torch.equal(end[n], v) for n, v in averaged.items() if n.startswith("appearance_reference."))


def test_the_motion_stage_holds_only_what_it_uses_and_hands_the_rest_on(
    backbone: Path, groups: Path, tmp_path: Path
) -> None:
    whole = stage("temporal", backbone, groups, tmp_path / "m")
    networks = whole.build()
    assert isinstance(networks, PortraitModel) and networks.local_control is not None
    torch.nn.init.normal_(networks.local_control.controlnet_mid_block.weight)
    to_pipeline(networks, whole.config, whole.recipe.present).save_pretrained(tmp_path / "model")
    chosen = stage("motion", backbone, groups, tmp_path / "c", start=str(tmp_path / "model"), checkpointing=False)
    held: dict[str, torch.dtype] = {}

    def look(model: torch.nn.Module, step: int) -> None:
        held.update({name: value.dtype for name, value in model.named_parameters()})

    chosen.after_step = look  # type: ignore[method-assign]
    train(chosen, chosen.options)
    parts = {name.partition(".")[0] for name in held}
    assert not parts & {"local_control", "temporal"}
    halves = {name.partition(".")[0] for name, dtype in held.items() if dtype == torch.bfloat16}
    assert halves == {"vae", "empty_prompt", "appearance_reference", "unet"}
    changing = load_file(checkpoints.find(tmp_path / "c").path / "weights.safetensors")
    assert {name.partition(".")[0] for name in changing} == {"motion_control", "latent_scale"}
    (frozen,) = (tmp_path / "c").glob("frozen_*.safetensors")
    kept = load_file(frozen)
    assert {name.partition(".")[0] for name in kept} >= {"appearance_reference", "local_control", "temporal"}
    given = load_file(tmp_path / "model" / "local_control" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(kept[f"local_control.{name}"], value.float()) for name, value in given.items())
    assert kept["appearance_reference.conv_in.weight"].dtype == torch.float32
    manifest = checkpoints.find(tmp_path / "c").manifest()
    assert manifest["loaded_anew"]["unet"]["path"].startswith(str(backbone.resolve()))
    following = stage("local", backbone, groups, tmp_path / "cl", start=str(tmp_path / "c"))
    model = following.build()
    following.start(model, tmp_path / "c")
    assert isinstance(model, PortraitModel) and model.local_control is not None
    middle = "controlnet_mid_block.weight"
    assert torch.equal(model.local_control.state_dict()[middle], kept[f"local_control.{middle}"])


def test_another_backbone_than_the_run_began_with_is_refused(backbone: Path, groups: Path, tmp_path: Path) -> None:
    first = stage("appearance", backbone, groups, tmp_path / "r")
    train(first, first.options)
    other = tmp_path / "other"
    shutil.copytree(backbone, other)
    file = other / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file({name: value + 0.1 for name, value in weights.items()}, file, {"format": "pt"})
    again = stage("appearance", other, groups, tmp_path / "r")
    with pytest.raises(WeightsError, match="not the file that the run began with"):
        train(again, again.options.changed(steps=3))


@pytest.mark.parametrize(("kind", "checkpointing"), [("appearance", True), ("appearance", False), ("motion", True)])
def test_two_processes_split_a_stage_and_go_on(
    backbone: Path, groups: Path, tmp_path: Path, kind: str, checkpointing: bool
) -> None:
    more = {"ema": 0.5, "precision": "fp32", "checkpointing": checkpointing}

    def work(rank: int) -> None:
        torch.set_num_threads(1)
        # what a block was gathered in must go back to the system: kept, the processes grow to the whole model's size
        trainer.keep_freed_memory = lambda: pytest.fail("a split run keeps freed memory")  # type: ignore[assignment]
        chosen = stage(kind, backbone, groups, tmp_path / "two", shard=True, **more)
        shares: list[float] = []

        def look(model: torch.nn.Module, step: int) -> None:
            mine = sum(here(p).numel() for p in model.parameters())
            shares.append(mine / sum(p.numel() for p in model.parameters()))
            if len(shares) == 1 and step == 1:
                os.kill(os.getpid(), signal.SIGTERM)  # the first slice ends here, the second goes on from it

        chosen.after_step = look  # type: ignore[method-assign]
        train(chosen, chosen.options)
        assert all(0.4 < share < 0.6 for share in shares), shares

    launch(2, work)
    assert checkpoints.find(tmp_path / "two").step == 1
    launch(2, work)
    assert checkpoints.find(tmp_path / "two").step == 2
    alone = stage(kind, backbone, groups, tmp_path / "one", accumulate=2, **more)
    train(alone, alone.options)
    one, two = (checkpoints.find(tmp_path / run).averaged_weights() for run in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.allclose(value, two[name], atol=1e-5) for name, value in one.items())


def test_the_dry_run_counts_parts_memory_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.training.x_portrait.stage.SD15", SMALL)
    options = configure("x-portrait/motion", data=(), out=".", size="full")
    text = dry_run.report(options)
    assert "motion_control" in text and "30,000 steps on 8 A100" in text and "24 GB card: --no-checkpointing" in text
    chosen = PortraitStage(options)
    single = PortraitStage(options.changed(frames=1))
    count, one = (dry_run.count_step(s, *s.sketch()) for s in (chosen, single))
    assert 0 < one.flops < count.flops < 2.1 * one.flops
    assert 0 < count.kept_less < count.kept
    assert 0 < count.again < count.flops
    assert "--shard on 8 devices" in text and "local_control" not in text


def test_the_dry_run_counts_f_decoding_and_saving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mien.training.x_portrait.stage.SD15", SMALL)
    for name, frames in (("a_000", 30), ("a_001", 50)):
        np.savez(tmp_path / f"{name}.npz", seen=np.ones(frames, bool))
        (tmp_path / f"{name}.mp4").touch()
    more = {"size": "full", "control_source": "face-vid2vid", "data": (str(tmp_path),), "save_every": 100}
    text = dry_run.report(configure("x-portrait/motion", out=".", **more))
    assert "F: 173.2 M" in text and "of a core" in text, "the published F, whose folder need not be there"
    assert "at most 80 frames a step and device (whole clips of 40 frames)" in text
    assert "every 100 steps" in text and "300 checkpoints in all" in text and "Pictures: the decoder alone" in text
    _, one = dry_run_beside.count_face_vid2vid(None, 1, 1)
    _, two = dry_run_beside.count_face_vid2vid(None, 1, 2)
    assert 1 < two / one < 2, "a source is encoded once"
    stage = PortraitStage(configure("x-portrait/motion", data=(), out=".", size="full"))
    model, _ = stage.sketch()
    changing, still = dry_run_beside.checkpoint_bytes(stage, model, averaged=True)
    control = sum(p.numel() for n, p in model.named_parameters() if n.startswith("motion_control."))
    others = sum(
        p.numel() for n, p in model.named_parameters() if n.startswith(("appearance_reference.", "motion_head."))
    )
    assert (changing, still) == (16 * control, 4 * others)
