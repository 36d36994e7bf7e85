from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mien.errors import WeightsError
from mien.models.reenactor import Reenactor, ReenactorConfig
from mien.models.reenactor.flow import global_flow, landmark_maps, local_flow, places, warp
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


@pytest.mark.parametrize("flow", [global_flow, local_flow])
def test_landmarks_that_stay_move_nothing(flow) -> None:  # type: ignore[no-untyped-def]
    grid, marks = places((16, 16), (-1, -1), (2, 2), torch.zeros(1)), points(1, 2)
    assert torch.allclose(flow(marks, marks, grid), grid.expand(2, -1, -1, -1), atol=1e-3)


@pytest.mark.parametrize("flow", [global_flow, local_flow])
def test_an_affine_motion_is_found_everywhere(flow) -> None:  # type: ignore[no-untyped-def]
    grid, marks = places((16, 16), (-1, -1), (2, 2), torch.zeros(1)), points(1)
    matrix, shift = torch.tensor([[1.1, 0.2], [-0.1, 0.9]]), torch.tensor([0.1, -0.05])
    assert torch.allclose(flow(marks, marks @ matrix + shift, grid), (grid @ matrix + shift)[None], atol=5e-3)


def test_the_local_flow_takes_every_landmark_where_it_belongs() -> None:
    driven, source = points(1), points(1) + 0.03 * torch.randn(1, 70, 2, generator=torch.Generator().manual_seed(3))
    got = local_flow(driven, source, driven[0][None])  # the grid is the landmarks themselves
    assert (got[0, 0] - source[0]).norm(dim=-1).median() < 0.004
    assert (global_flow(driven, source, driven[0][None])[0, 0] - source[0]).norm(dim=-1).median() > 0.015


def test_a_landmarks_map_has_its_peak_there() -> None:
    grid = places((32, 32), (-1, -1), (2, 2), torch.zeros(1))
    maps = landmark_maps(torch.tensor([[[0.5, -0.25]]]), grid, 0.1)[0, 0]
    row, column = divmod(int(maps.argmax()), 32)
    assert abs(float(grid[row, column, 0]) - 0.5) < 0.04 and abs(float(grid[row, column, 1]) + 0.25) < 0.04


def test_a_fresh_reenactor_shows_the_moved_source_and_a_window_is_a_part_of_the_whole() -> None:
    model, source = tiny(), torch.rand(1, 3, 64, 64) * 2 - 1
    marks = points(2)
    features = model.appearance(source)
    with torch.no_grad():
        still = model(source, features, marks, marks)
        whole = model(source, features, marks, marks + 0.05)
        window = model(source, features, marks, marks + 0.05, (16, 32, 32, 16))
    assert still.picture.shape == (1, 3, 64, 64) and window.picture.shape == (1, 3, 16, 32)
    assert (still.moved - source).abs().mean() < 0.02
    assert (window.moved - whole.moved[:, :, 32:48, 16:48])[:, :, 4:-4, 4:-4].abs().max() < 0.02
    assert float(whole.motion.visible.min()) > 0.5


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
