from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import WeightsError
from mien.models.reenactor import Reenactor, ReenactorConfig
from mien.models.reenactor.flow import global_flow, landmark_maps, local_flow, places, similar_flow, warp
from mien.models.reenactor.openings import face as face_mask
from mien.models.reenactor.openings import openings
from mien.models.reenactor.surroundings import goes_with_head, surroundings_flow
from mien.pipelines.loading import load_part

TINY = ReenactorConfig(64, (4, 4, 8), (8, 8, 8), (4, 4, 8, 8), 1, 4, 4)


def points(seed: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 70, 2, generator=torch.Generator().manual_seed(seed)) * 1.2 - 0.6


def tiny() -> Reenactor:
    torch.manual_seed(0)
    return Reenactor.of(TINY).eval()


def test_places_are_the_centres_that_grid_sample_reads() -> None:
    picture = torch.rand(1, 3, 8, 8)
    assert torch.allclose(warp(picture, places((8, 8), (-1, -1), (2, 2), picture)[None]), picture, atol=1e-6)
    window = warp(picture, places((4, 4), (0, -1), (1, 1), picture)[None])
    assert torch.allclose(window, picture[:, :, :4, 4:], atol=1e-6)


@pytest.mark.parametrize("flow", [global_flow, local_flow, similar_flow])
def test_landmarks_that_stay_move_nothing(flow) -> None:  # type: ignore[no-untyped-def]
    grid, marks = places((16, 16), (-1, -1), (2, 2), torch.zeros(1))[None], points(1, 2)
    assert torch.allclose(flow(marks, marks, grid), grid.expand(2, -1, -1, -1), atol=1e-3)


@pytest.mark.parametrize("flow", [global_flow, local_flow])
def test_an_affine_motion_is_found_everywhere(flow) -> None:  # type: ignore[no-untyped-def]
    grid, marks = places((16, 16), (-1, -1), (2, 2), torch.zeros(1))[None], points(1)
    matrix, shift = torch.tensor([[1.1, 0.2], [-0.1, 0.9]]), torch.tensor([0.1, -0.05])
    assert torch.allclose(flow(marks, marks @ matrix + shift, grid), grid @ matrix + shift, atol=5e-3)


def test_a_similar_flow_turns_and_scales_and_does_not_stretch() -> None:
    grid, marks = places((16, 16), (-1, -1), (2, 2), torch.zeros(1))[None], points(1)
    turn, shift = 1.2 * torch.tensor([[0.8, 0.6], [-0.6, 0.8]]), torch.tensor([0.1, -0.05])
    assert torch.allclose(similar_flow(marks, marks @ turn + shift, grid), grid @ turn + shift, atol=1e-4)
    stretched = similar_flow(marks, marks * torch.tensor([1.5, 1.0]), grid)
    across, down = (stretched[0, :, 1:] - stretched[0, :, :-1]).norm(dim=-1), (stretched[0, 1:] - stretched[0, :-1])
    assert torch.allclose(across.mean(), down.norm(dim=-1).mean(), rtol=1e-4)


def test_the_local_flow_takes_every_landmark_where_it_belongs() -> None:
    driven, source = points(1), points(1) + 0.03 * torch.randn(1, 70, 2, generator=torch.Generator().manual_seed(3))
    got = local_flow(driven, source, driven[:, None])  # the grid is the landmarks themselves
    assert (got[0, 0] - source[0]).norm(dim=-1).median() < 0.004
    assert (global_flow(driven, source, driven[:, None])[0, 0] - source[0]).norm(dim=-1).median() > 0.015


def test_a_landmarks_map_has_its_peak_there() -> None:
    grid = places((32, 32), (-1, -1), (2, 2), torch.zeros(1))
    maps = landmark_maps(torch.tensor([[[0.5, -0.25]]]), grid[None], 0.1)[0, 0]
    row, column = divmod(int(maps.argmax()), 32)
    assert abs(float(grid[row, column, 0]) - 0.5) < 0.04 and abs(float(grid[row, column, 1]) + 0.25) < 0.04


def test_a_fresh_reenactor_shows_the_moved_source_and_a_window_is_a_part_of_the_whole() -> None:
    model, source = tiny(), torch.rand(1, 3, 64, 64) * 2 - 1
    marks = points(2)
    features = model.appearance(source)
    with torch.no_grad():
        still = model(source, features, marks, marks)
        whole = model(source, features, marks, marks + 0.05)
        window = model(source, features, marks, marks + 0.05, torch.tensor([[16.0, 32.0]]), 32)
    assert still.picture.shape == (1, 3, 64, 64) and window.picture.shape == (1, 3, 32, 32)
    assert (still.moved - source).abs().mean() < 0.02
    assert (window.moved - whole.moved[:, :, 32:64, 16:48])[:, :, 4:-4, 4:-4].abs().max() < 0.02
    assert float(whole.motion.visible.min()) > 0.5


def test_a_source_serves_several_rows_and_every_row_has_its_window() -> None:
    model, source = tiny(), torch.rand(2, 3, 64, 64) * 2 - 1
    marks, driven, corners = points(2, 2), points(4, 6), torch.tensor([[0, 0], [16, 8], [32, 32]] * 2).float()
    with torch.no_grad():
        features, each = model.appearance(source), marks.repeat_interleave(3, 0)
        together = model(source, features, each, driven, corners, 32).picture
        copied = tuple(part.repeat_interleave(3, 0) for part in features)
        apart = model(source.repeat_interleave(3, 0), copied, each, driven, corners, 32).picture
        first = tuple(part[:1] for part in features)
        alone = model(source[:1], first, marks[:1], driven[1:2], corners[1:2], 32).picture
    assert torch.allclose(together, apart, atol=1e-5) and torch.allclose(together[1:2], alone, atol=1e-5)


def square(left: float, top: float, right: float, bottom: float, count: int) -> torch.Tensor:
    """`count` points around a rectangle."""
    share = torch.arange(count) / count * 4
    x = (share.clamp(0, 1) - (share - 2).clamp(0, 1)) * (right - left) + left
    y = ((share - 1).clamp(0, 1) - (share - 3).clamp(0, 1)) * (bottom - top) + top
    return torch.stack([x, y], -1)


def test_openings_are_inside_their_rims_and_shut_ones_are_nowhere() -> None:
    marks = torch.zeros(1, 70, 2)
    marks[0, 60:68] = square(-0.3, 0.2, 0.3, 0.5, 8)
    marks[0, 36:42] = torch.stack([torch.tensor([-0.5, -0.4, -0.3, -0.2, -0.3, -0.4]), torch.full((6,), -0.3)], -1)
    marks[0, 68:] = torch.tensor([[-0.35, -0.3], [0.35, -0.3]])
    grid = places((64, 64), (-1, -1), (2, 2), marks)
    right, _, mouth, pupils = openings(marks, grid[None])[0]
    inside = (grid[..., 0].abs() < 0.29) & ((grid[..., 1] - 0.35).abs() < 0.14)
    outside = (grid[..., 0].abs() > 0.31) | ((grid[..., 1] - 0.35).abs() > 0.16)
    assert bool((mouth[inside] > 0).all()) and bool((mouth[outside] < 0).all()) and float(mouth.max()) > 0.99
    assert float(right.max()) <= 0.0
    row, column = divmod(int(pupils[:, 32:].argmax()), 32)
    assert abs(float(grid[row, column + 32, 0]) - 0.35) < 0.04 and abs(float(grid[row, column, 1]) + 0.3) < 0.04


def test_it_paints_within_the_face_only() -> None:
    model, source, marks = tiny(), torch.rand(1, 3, 64, 64) * 2 - 1, points(2)
    angle = torch.linspace(0.2, 3.3, 17)
    marks[0, :17] = torch.stack([-0.5 * angle.cos(), 0.6 * angle.sin()], -1)
    marks[0, 17:27] = torch.stack([torch.linspace(-0.4, 0.4, 10), torch.full((10,), -0.3)], -1)
    with torch.no_grad():
        torch.nn.init.normal_(model.generator.read.weight, std=0.5)
        rendered = model(source, model.appearance(source), marks, marks)
    painted = (rendered.picture - rendered.moved).abs().amax((0, 1))
    assert float(painted[:10].max()) < 0.01 and float(painted[:, :8].max()) < 0.01
    assert float(painted[30:40, 28:36].mean()) > 0.1


def test_it_is_saved_and_loaded_strictly(tmp_path: Path) -> None:
    model = tiny()
    model.mean.normal_()
    model.save_pretrained(tmp_path)
    again = load_part(Reenactor, tmp_path)
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())
    assert again.basis().mean.shape == (70, 3) and again.basis().shapes.shape == (52, 70, 3)
    other = Reenactor.of(ReenactorConfig(64, (4, 4, 16), (8, 8, 8), (4, 4, 8, 8), 1, 4, 4))
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text((tmp_path / "config.json").read_text())
    with pytest.raises(WeightsError, match="shape"):
        load_part(Reenactor, tmp_path / "other")


def face(shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    """Keypoints [1, 70, 2] on a circle of .3 half sides, those that matter in their places."""
    angle = torch.linspace(0, 2 * torch.pi, 70)
    marks = 0.3 * torch.stack([angle.cos(), angle.sin()], -1)[None]
    marks[:, [36, 45, 27]] = torch.tensor([[-0.15, -0.1], [0.15, -0.1], [0.0, -0.1]])
    return marks + torch.tensor(shift)


def test_hair_goes_with_the_head_and_the_background_stays() -> None:
    grid = places((64, 64), (-1, -1), (2, 2), torch.zeros(1))[None]
    marks, hair, corner = face(), (19, 32), (0, 0)
    share = goes_with_head(marks, grid)[0, ..., 0]
    assert share[hair] > 0.95 and share[32, 32] == 1 and share[corner] < 0.01
    assert share[[0, -1]].max() < 0.05 and share[:, [0, -1]].max() < 0.05  # half a place inside the border
    flow = surroundings_flow(marks + 0.05, marks, grid)
    assert torch.allclose(flow[0][hair], grid[0][hair] - 0.05, atol=5e-3)
    assert torch.allclose(flow[0][corner], grid[0][corner], atol=1e-3)


def test_an_opening_mouth_does_not_lift_the_hair() -> None:
    grid, open_mouth = places((64, 64), (-1, -1), (2, 2), torch.zeros(1))[None], face()
    open_mouth[:, 5:12, 1] += 0.1
    open_mouth[:, 48:68, 1] += 0.1
    assert torch.allclose(surroundings_flow(open_mouth, face(), grid), grid.expand(1, -1, -1, -1), atol=2e-3)


def test_hair_tilts_with_the_head() -> None:
    grid, turn = places((64, 64), (-1, -1), (2, 2), torch.zeros(1))[None], torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    upright, lying = goes_with_head(face(), grid)[0, ..., 0], goes_with_head(face() @ turn, grid)[0, ..., 0]
    assert torch.allclose(lying, upright.T.flip(0), atol=1e-4) or torch.allclose(lying, upright.T.flip(1), atol=1e-4)
    assert not torch.allclose(lying, upright, atol=1e-2)


def test_places_on_an_outline_have_a_finite_gradient() -> None:
    """A landmark's own place lies at distance 0 from the outline; the root of 0 must not make gradients NaN."""
    marks = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (1, 70, 2)).astype(np.float32))
    grid = marks[:, [36, 39, 60, 64]].reshape(1, 2, 2, 2).clone().requires_grad_()
    openings(marks, grid).sum().backward()
    face_mask(marks, grid).sum().backward()
    assert grid.grad is not None and bool(grid.grad.isfinite().all())
