"""DeX-Portrait's networks: sizes next to the paper's, what a fresh one leaves alone, what a trained one reads."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from mien.models.dex_portrait import FULL, NANO, Conditions, Pose, build
from mien.models.dex_portrait.discriminator import Discriminator
from mien.models.dex_portrait.motion_trainer import MotionGenerator
from mien.models.dex_portrait.reference_warp import PosedReferenceFeatures
from mien.models.x_portrait import SD15
from mien.models.x_portrait import build as build_x
from tiny_dex import TINY_DEX, tiny_dex_networks

T = torch.tensor(301)


def millions(part: nn.Module) -> float:
    return sum(p.numel() for p in part.parameters()) / 1e6


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return build(FULL)


def test_the_full_size_is_the_papers(full) -> None:
    """Stable Diffusion 1.5's U-Net has 859.52 M, ConvNeXt V2 Tiny 27.87 M without its classifier."""
    assert millions(full.unet) - 6 * 320 * 9 / 1e6 == pytest.approx(859.521, abs=0.001)
    assert full.unet.conv_in.weight.shape == (320, 10, 3, 3)
    assert millions(full.pose_encoder) == pytest.approx(27.87, abs=0.02)
    assert len(full.injection.warps) == len(full.injection.attentions) == 16
    assert full.injection.null_tokens.shape == (1, 32, 16)
    with torch.device("meta"):
        published = build_x(SD15)
    for part in ("vae", "appearance_reference", "temporal"):
        assert millions(getattr(full, part)) == pytest.approx(millions(getattr(published, part)))


def test_the_full_motion_trainer_has_the_supplements_shapes() -> None:
    with torch.device("meta"), torch.no_grad():
        generator, discriminator = MotionGenerator(FULL), Discriminator(FULL.motion.discriminator_channels)
        picture, pose = torch.empty(1, 3, 256, 256), Pose.from_code(torch.empty(1, 6))
        volume = generator.appearance(picture)
        assert volume.shape == (1, 32, 16, 64, 64)
        assert generator.flatten(volume, volume).shape == (1, 512, 32, 32)
        assert generator.style(volume).shape == (1, 2048)
        assert generator.decoder.entry.conv.affine.in_features == 2048 + 512
        assert generator(picture, pose, pose, torch.empty(1, 512)).shape == picture.shape
        assert discriminator(picture).shape == (1,)
        assert [layer.conv.weight.shape[0] for layer in generator.decoder.to_rgb] == [96, 48, 24, 12, 6, 3]


def test_the_nano_size_is_small() -> None:
    with torch.device("meta"):
        nets = build(NANO)
    own = [part for part in vars(nets) if part not in ("vae", "window_head")]  # the VAE is X-Portrait's
    assert sum(millions(getattr(nets, part)) for part in own) < 6


def latents(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, 32, 32, generator=torch.Generator().manual_seed(seed))


def given(nets, seed: int = 0, **changes) -> Conditions:
    generator = torch.Generator().manual_seed(seed)
    source = latents(1, 9)
    conditions = Conditions(
        reference_features=nets.read_appearance([source]),
        latents=source,
        source_pose=Pose.from_code(torch.randn(1, 6, generator=generator) * 0.2),
        pose=Pose.from_code(torch.randn(2, 6, generator=generator) * 0.2),
        tokens=nets.injection.tokens(torch.randn(2, 16, generator=generator)),
    )
    return dataclasses.replace(conditions, **changes)


@torch.no_grad()
def test_a_fresh_network_sees_the_source_but_neither_pose_nor_expression() -> None:
    torch.manual_seed(0)
    nets = build(TINY_DEX)
    base = given(nets)
    want = nets.predict(latents(2), T, 2, base)
    assert torch.allclose(nets.predict(latents(2), T, 2, given(nets, 5)), want, atol=1e-6)
    assert not torch.allclose(
        nets.predict(latents(2), T, 2, dataclasses.replace(base, reference_features=None)), want, atol=1e-4
    )


@torch.no_grad()
def test_a_trained_network_reads_all_it_is_given() -> None:
    nets = tiny_dex_networks()
    base, other = given(nets), given(nets, 5)
    want = nets.predict(latents(2), T, 2, base)
    for changes in (
        {"pose": other.pose},
        {"source_pose": other.source_pose},
        {"tokens": other.tokens},
        {"tokens": nets.injection.no_expression(2)},
        {"ray_maps": False},
        {"warping": False},
        {"reference_features": None},
        {"pose_absent": torch.tensor([True, True])},
    ):
        got = nets.predict(latents(2), T, 2, dataclasses.replace(base, **changes))
        assert (got - want).abs().mean() > 1e-3, changes


@torch.no_grad()
def test_rows_without_pose_are_as_if_there_were_none() -> None:
    nets = dataclasses.replace(tiny_dex_networks(), temporal=None)
    base = given(nets)
    mixed = nets.predict(latents(2), T, 1, dataclasses.replace(base, pose_absent=torch.tensor([True, False])))
    none = nets.predict(latents(2), T, 1, dataclasses.replace(base, pose=None))
    all_ = nets.predict(latents(2), T, 1, base)
    assert torch.allclose(mixed[0], none[0], atol=1e-5)
    assert torch.allclose(mixed[1], all_[1], atol=1e-5)


@torch.no_grad()
def test_with_equal_poses_the_warped_reference_is_the_reference() -> None:
    nets = tiny_dex_networks()
    base = given(nets)
    features, warps = base.reference_features, nets.injection.reference_warps()
    layer, tokens = next(iter(features.tokens.items()))
    name = layer.split(".transformer_blocks.")[0]
    warp = warps[name]
    nn.init.zeros_(warp.conv.bias)
    nn.init.dirac_(warp.conv.weight)  # a convolution that passes everything on
    posed = PosedReferenceFeatures(features, warps, base.source_pose, base.source_pose.repeat(3))
    got = posed.residual(layer, tokens.expand(3, -1, -1))
    assert torch.equal(got, tokens.expand(3, -1, -1))
    moved = PosedReferenceFeatures(features, warps, base.source_pose, base.pose)
    assert not torch.allclose(moved.residual(layer, tokens.expand(2, -1, -1)), tokens, atol=0.1)


@torch.no_grad()
def test_every_place_of_the_injection_is_a_transformer_of_the_unet() -> None:
    nets = tiny_dex_networks()
    for name, channels, _ in nets.injection.config.places:
        assert nets.unet.get_submodule(name).norm.num_channels == channels


def test_poses_begin_at_the_identity() -> None:
    torch.manual_seed(0)
    nets = build(TINY_DEX)
    assert nets.pose_encoder(torch.randn(2, 3, 32, 32)).abs().max() == 0


def test_the_generator_uses_pose_and_expression() -> None:
    torch.manual_seed(0)
    generator = MotionGenerator(TINY_DEX)
    picture, codes = torch.randn(2, 3, 32, 32), torch.randn(4, 16)
    pose = Pose.from_code(torch.randn(4, 6) * 0.3)
    want = generator(picture, pose[:2], pose, codes)
    assert want.shape == (4, 3, 32, 32)
    assert (generator(picture, pose[:2], pose, codes.flip(0)) - want).abs().mean() > 1e-3
    assert (generator(picture, pose[:2], pose[torch.tensor([1, 0, 3, 2])], codes) - want).abs().mean() > 1e-3
    assert Discriminator(TINY_DEX.motion.discriminator_channels)(want).shape == (4,)
