"""The head of models that work on face windows."""

from __future__ import annotations

import torch

from mien.models.x_portrait import FACE_WINDOW, WindowHead, build
from mien.models.x_portrait.window_head import WindowChange, bend, face_ellipse
from tiny import TINY_WINDOW, tiny_networks


def test_a_fresh_head_leaves_the_moved_portrait_where_the_networks_paint_it() -> None:
    head, moved = WindowHead(8, 2), torch.rand(2, 3, 16, 16) * 2 - 1
    change = head(torch.randn(2, 8, 8, 8), moved, moved, torch.zeros_like(moved))
    assert torch.allclose(change.picture(moved), moved, atol=1e-5)


def test_bend_takes_pixels_from_where_the_flow_says() -> None:
    picture = torch.zeros(1, 3, 8, 8)
    picture[..., 3, 5] = 1
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2 * (2 / 8)  # two pixels to the right, in half sides
    assert bend(picture, flow)[0, 0, 3, 3] == 1 and bend(picture, flow)[0, 0].sum() == 1


def test_nothing_changes_at_the_border() -> None:
    torch.manual_seed(0)
    head, moved = WindowHead(8, 2), torch.rand(1, 3, 64, 64)
    torch.nn.init.normal_(head.flow.weight)
    torch.nn.init.normal_(head.blend[-1].weight)
    change = head(torch.randn(1, 8, 32, 32), torch.rand_like(moved), moved, moved)
    made, rim = change.picture(moved), torch.ones(64, 64, dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    assert torch.allclose(made[..., rim], moved[..., rim], atol=1e-5)
    assert (made - moved).abs().mean() > 0.01
    assert face_ellipse(64)[0, 0, 32, 32] == 1


def test_a_picture_is_bent_and_painted() -> None:
    moved = torch.rand(1, 3, 4, 4)
    half = WindowChange(torch.zeros(1, 2, 4, 4), torch.full((1, 1, 4, 4), 0.25), torch.ones(1, 3, 4, 4))
    assert torch.allclose(half.picture(moved), 0.75 * moved + 0.25, atol=1e-6)


def test_every_input_moves_the_result() -> None:
    nets = tiny_networks(TINY_WINDOW)
    torch.manual_seed(1)
    time = torch.tensor(999)
    latents, moved, source = torch.randn(2, 48, 8, 8), torch.randn(2, 48, 8, 8), torch.randn(1, 48, 8, 8)
    drive, local = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 64, 64)

    def run(latents=latents, moved=moved, source=source, drive=drive, local=local) -> torch.Tensor:  # type: ignore[no-untyped-def]
        features = nets.read_appearance([source], time)
        return nets.predict(latents, time, 2, features, nets.read_motion(drive, local), moved)

    before = run()
    assert before.shape == latents.shape
    for name, given in {
        "latents": latents, "moved": moved, "source": source, "drive": drive, "local": local,
    }.items():  # fmt: skip
        assert not torch.allclose(run(**{name: given + 0.5}), before, atol=1e-6), name


def test_nano_is_small() -> None:
    with torch.device("meta"):
        nets = build(FACE_WINDOW)
    parts = [nets.appearance_reference, nets.motion_control, nets.local_control, nets.unet, nets.window_head]
    weights = sum(p.numel() for part in parts if part is not None for p in part.parameters())
    assert weights < 14e6
    assert nets.window_head is not None and nets.local_control is not None
