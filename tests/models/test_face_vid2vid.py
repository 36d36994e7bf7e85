"""Face Vid2Vid's networks: what the paper says of them, and their sizes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from mien.errors import WeightsError
from mien.geometry import HeadPose
from mien.models.face_vid2vid import FULL, NANO, FaceVid2Vid, FaceVid2VidConfig, Motion, rotation_matrices
from mien.models.face_vid2vid.config import BINS
from mien.models.face_vid2vid.discriminator import Discriminator
from mien.models.face_vid2vid.keypoints import expected_places
from mien.models.face_vid2vid.layers import SpectralConv2d
from mien.models.face_vid2vid.motion import cells, decode_angle
from mien.models.face_vid2vid.motion_field import candidate_flows, heatmaps, warp
from mien.pipelines.loading import WEIGHTS, load_part
from tiny_face_vid2vid import PLAIN_F, TINY_F


def network(config: FaceVid2VidConfig = TINY_F) -> FaceVid2Vid:
    """Random weights, expression and translation too."""
    torch.manual_seed(0)
    made = FaceVid2Vid.of(config).eval()
    for head in (made.head_pose.expression, made.head_pose.translation):
        torch.nn.init.normal_(head.weight, std=0.1)
    return made


def pictures(count: int, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


# -- geometry


def test_rotations_are_those_of_head_poses() -> None:
    assert torch.equal(rotation_matrices(torch.zeros(2, 3)), torch.eye(3).expand(2, 3, 3))
    for angles in ((30, 0, 0), (0, -20, 0), (0, 0, 15), (40, -25, 60), (-80, 10, -5)):
        wanted = torch.from_numpy(HeadPose.from_euler(*angles).matrix()).float()
        torch.testing.assert_close(rotation_matrices(torch.tensor([angles]))[0], wanted, atol=1e-6, rtol=0)


def test_a_certain_bin_is_its_angle() -> None:
    logits = 1e4 * torch.eye(BINS)
    torch.testing.assert_close(decode_angle(logits), 3 * torch.arange(66.0) - 99, atol=1e-3, rtol=0)


def test_a_certain_cell_is_its_place() -> None:
    logits = torch.zeros(1, 3, 3, 5, 9)
    for keypoint, cell in enumerate(((0, 0, 0), (2, 4, 8), (1, 2, 6))):
        logits[0, keypoint][cell] = 100
    places = expected_places(logits.bfloat16())
    assert places.dtype == torch.float32
    torch.testing.assert_close(places[0], torch.tensor([[-1.0, -1, -1], [1, 1, 1], [0.5, 0, 0]]))


def test_free_view_keeps_place_and_turns_the_expression_with_the_head() -> None:
    motion = Motion(torch.tensor([[10.0, 5, -5]]), torch.tensor([[0.1, 0.2, 0]]), torch.randn(1, 5, 3))
    turned = motion.turned(torch.tensor([[40.0, -5, 0]]))
    assert torch.equal(turned.translation, motion.translation)
    in_head = (motion.expression @ motion.matrix(), turned.expression @ turned.matrix())
    torch.testing.assert_close(*in_head)
    torch.testing.assert_close(motion.turned(motion.angles).expression, motion.expression)


def test_candidates_follow_a_head_that_only_turns() -> None:
    """Every candidate carries every keypoint of a rigid head from driving to source, and the first moves nothing."""
    head = torch.rand(1, 4, 3) - 0.5
    source, driving = (rotation_matrices(torch.tensor([angles])) for angles in ((10.0, 0, 0), (-35.0, 12, 8)))
    keypoints = [head @ rotation.transpose(1, 2) for rotation in (source, driving)]
    grid = keypoints[1].view(1, 1, 4, 3)  # cells at the driving keypoints
    flows = candidate_flows(grid, *keypoints, source @ driving.transpose(1, 2))
    torch.testing.assert_close(flows[0, 0], grid)
    torch.testing.assert_close(flows[0, 1:, 0, 0], keypoints[0].expand(4, -1, -1), atol=1e-5, rtol=0)


def test_heatmaps_are_gaussians_and_a_still_warp_changes_nothing() -> None:
    grid, keypoints = cells(3, 4, 5, torch.empty(0)), torch.tensor([[[0.3, -0.2, 0.1]]])
    wanted = torch.exp(-(grid - keypoints[0, 0]).square().sum(-1) / 0.02)
    torch.testing.assert_close(heatmaps(grid, keypoints)[0, 0], wanted)
    volume = torch.randn(1, 2, 3, 4, 5)
    torch.testing.assert_close(warp(volume, grid[None]), volume, atol=1e-5, rtol=1e-5)


# -- the model


@pytest.mark.parametrize("config", [TINY_F, PLAIN_F], ids=["spade", "original"])
@torch.no_grad()
def test_the_source_as_its_own_driver_moves_nothing(config: FaceVid2VidConfig) -> None:
    model, source = network(config), pictures(2)
    portrait = model.encode(source)
    rendered = model(portrait, model.motion(source))
    still = cells(*portrait.volume.shape[2:], source).expand_as(rendered.flow.places)
    torch.testing.assert_close(rendered.flow.places, still, atol=1e-5, rtol=0)
    assert rendered.flow.visible.min() > 0.9
    assert rendered.picture.shape == source.shape
    assert rendered.picture.abs().max() <= 1


@torch.no_grad()
def test_canonical_keypoints_come_from_the_source_for_both_sides() -> None:
    model, (source, driving) = network(), pictures(2).split(1)
    portrait, calls = model.encode(source), []
    hook = model.keypoint_detector.register_forward_hook(lambda *_: calls.append(1))
    motion = model.motion(driving)
    moved = model(portrait, motion)
    hook.remove()
    assert not calls  # the driver's are never looked for
    same = portrait.canonical @ motion.matrix().transpose(1, 2) + motion.translation[:, None] + motion.expression
    torch.testing.assert_close(motion.keypoints(portrait.canonical), same)
    own = portrait.motion.keypoints(portrait.canonical)
    back = (own - portrait.motion.translation[:, None] - portrait.motion.expression) @ portrait.motion.matrix()
    torch.testing.assert_close(back, portrait.canonical, atol=1e-5, rtol=0)
    assert (moved.flow.places - cells(*portrait.volume.shape[2:], source)).abs().max() > 1e-3


@pytest.mark.parametrize("config", [TINY_F, PLAIN_F], ids=["spade", "original"])
@torch.no_grad()
def test_free_views_of_a_mirrored_source_are_mirrored(config: FaceVid2VidConfig) -> None:
    """With kernels that are their own mirror images the whole model must commute with mirroring, rotations too."""
    model = network(config)
    for parameter in model.parameters():
        if parameter.ndim >= 4:
            parameter.copy_((parameter + parameter.flip(-1)) / 2)
    heads = model.head_pose
    for head in (heads.angles, heads.expression, heads.translation):
        head.weight.zero_()
    heads.angles.bias.copy_(1e3 * (torch.arange(3 * BINS) % BINS == 33))  # 0 degrees
    source = pictures(1)
    seen = []
    for picture, sign in ((source, 1), (source.flip(3), -1)):
        portrait = model.encode(picture)
        assert portrait.motion.angles.abs().max() < 1e-3
        seen.append(model(portrait, portrait.motion.turned(torch.tensor([[25.0 * sign, 10, 15 * sign]]))))
    torch.testing.assert_close(seen[0].picture, seen[1].picture.flip(3), atol=1e-4, rtol=0)
    assert (seen[0].picture - seen[1].picture).abs().max() > 1e-2
    still = cells(*seen[0].flow.places.shape[1:4], source)
    assert (seen[0].flow.places - still).abs().max() > 0.05


def test_under_autocast_places_stay_in_single_precision() -> None:
    model = network()
    with torch.no_grad():
        exact = model.encode(pictures(1))
        with torch.autocast("cpu", torch.bfloat16):
            portrait = model.encode(pictures(1))
            rendered = model(portrait, model.motion(pictures(1)))
    assert portrait.canonical.dtype == portrait.motion.angles.dtype == rendered.flow.places.dtype == torch.float32
    still = cells(*portrait.volume.shape[2:], exact.canonical).expand_as(rendered.flow.places)
    torch.testing.assert_close(rendered.flow.places, still, atol=1e-5, rtol=0)
    assert rendered.picture.isfinite().all()


def test_spectral_norms_hold_the_largest_singular_value_at_one() -> None:
    torch.manual_seed(0)
    conv = SpectralConv2d(6, 5, 3, 1).train()
    torch.nn.init.normal_(conv.weight, std=3)
    for _ in range(60):
        conv.normed_weight()
    assert float(torch.linalg.matrix_norm(conv.normed_weight().detach().flatten(1), 2)) == pytest.approx(1, abs=1e-2)
    before = conv.eval().u.clone()
    conv(torch.randn(1, 6, 4, 4))
    assert torch.equal(conv.u, before)


def test_the_opponent_tells_its_features() -> None:
    logits, features = Discriminator(TINY_F)(pictures(2))
    assert logits.shape == (2, 1, 11, 11)
    assert [f.shape[1] for f in features] == list(TINY_F.discriminator_channels)


# -- files and sizes


def test_files_are_loaded_strictly(tmp_path: Path) -> None:
    model = network()
    model.save_pretrained(tmp_path)
    again = load_part(FaceVid2Vid, tmp_path)
    source = pictures(1)
    with torch.no_grad():
        made = [net(net.encode(source), net.motion(source.flip(3))).picture for net in (model, again)]
    assert torch.equal(*made)
    weights = load_file(tmp_path / WEIGHTS)
    gone = weights.pop("motion_field.mask.bias")
    save_file({**weights, "motion_field.mask.offset": gone}, tmp_path / WEIGHTS)
    with pytest.raises(WeightsError, match=r"1 missing keys: motion_field\.mask\.bias"):
        load_part(FaceVid2Vid, tmp_path)


def _conv(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel + outputs


def _normed(inputs: int, outputs: int, kernel: int) -> int:
    return _conv(inputs, outputs, kernel) + 2 * outputs


def _bottleneck(width: int) -> int:
    narrow = width // 4
    return _normed(width, narrow, 1) + _normed(narrow, narrow, 9) + _normed(narrow, width, 1)


def _spade(channels: int) -> int:
    return _conv(256, 128, 9) + 2 * _conv(128, channels, 9)


def _spade_block(inputs: int, outputs: int) -> int:
    middle = min(inputs, outputs)
    skip = _spade(inputs) + inputs * outputs if inputs != outputs else 0
    return _spade(inputs) + _spade(middle) + _conv(inputs, middle, 9) + _conv(middle, outputs, 9) + skip


def test_full_size_has_the_parameters_of_the_published_layers() -> None:
    """Derived from the paper's architecture, layer by layer."""
    appearance = _normed(3, 64, 9) + _normed(64, 128, 9) + _normed(128, 256, 9) + _conv(256, 512, 1)
    appearance += 6 * 2 * (2 * 32 + _conv(32, 32, 27))
    detector = sum(_normed(a, b, 9) for a, b in pairwise((3, 64, 128, 256, 512, 1024))) + _conv(1024, 16384, 1)
    detector += sum(_normed(a, b, 27) for a, b in pairwise((1024, 512, 256, 128, 64, 32))) + _conv(32, 15, 27)
    pose = _normed(3, 64, 49) + _conv(2048, 3 * 66 + 3 + 45, 1)
    for (inputs, width), blocks in zip(pairwise((64, 256, 512, 1024, 2048)), (3, 4, 6, 3), strict=True):
        halving = _normed(width, width, 1) if width > 256 else 0
        pose += _normed(inputs, width, 1) + blocks * _bottleneck(width) + halving
    field = _normed(32, 4, 1) + sum(_normed(a, b, 27) for a, b in pairwise((80, 64, 128, 256, 512, 1024)))
    field += sum(_normed(a, b, 27) for a, b in ((1024, 512), (1024, 256), (512, 128), (256, 64), (128, 32)))
    field += _normed(112, 112, 27) + _conv(112, 16, 343) + _conv(1792, 1, 49)
    generator = _normed(512, 256, 9) + _conv(256, 256, 1) + _conv(256, 512, 9) + 6 * _spade_block(512, 512)
    generator += _spade_block(512, 256) + _spade_block(256, 64) + _conv(64, 3, 9)
    opponent = sum(_conv(a, b, 16) for a, b in pairwise((3, 64, 128, 256, 512))) + _conv(512, 1, 1)
    derived = dict(
        appearance=appearance, keypoint_detector=detector, head_pose=pose, motion_field=field, generator=generator
    )
    with torch.device("meta"):
        model, discriminator = FaceVid2Vid.of(FULL), Discriminator(FULL)
    counted = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert counted == derived
    assert sum(derived.values()) == 173_183_061
    assert sum(p.numel() for p in discriminator.parameters()) == opponent == 2_757_057


def test_nano_takes_a_few_gflop_a_frame() -> None:
    with torch.device("meta"):
        model, picture = FaceVid2Vid.of(NANO), torch.empty(1, 3, 256, 256)
    assert sum(p.numel() for p in model.parameters()) < 2e6
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        portrait = model.encode(picture)
    assert counter.get_total_flops() < 6e9
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(portrait, model.motion(picture))
    assert counter.get_total_flops() < 8e9
