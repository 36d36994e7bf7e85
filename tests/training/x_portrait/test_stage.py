"""X-Portrait's stages: what they draw, what they learn, what they leave alone, and what comes out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from disc_avatars import CONFIG, write_discs
from mien.errors import InputError
from mien.geometry.draw_landmarks import draw_landmarks
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.training.data.avatar_groups import AvatarClips
from mien.training.data.collate import Draw, draw
from mien.training.data.control_images import ControlKind
from mien.training.data.types import Wish
from mien.training.engine import checkpoints
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import trained_names
from mien.training.engine.trainer import train
from mien.training.x_portrait.model import PortraitModel, fresh
from mien.training.x_portrait.recipes import PRESETS, plan_for
from mien.training.x_portrait.stage import PortraitStage

KINDS = ("appearance", "motion", "local", "temporal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people in 64 motions."""
    return write_discs(tmp_path_factory.mktemp("avatars"))


def options(kind: str, folder: Path, out: Path, **more: object) -> TrainOptions:
    base = TrainOptions(f"x-portrait/{kind}", (str(folder),), str(out), precision="fp32", show_every=0, warmup=1)
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def stage(kind: str, folder: Path, out: Path = Path("."), **more: object) -> PortraitStage:
    chosen = options(kind, folder, out, **more)
    plan = dataclasses.replace(plan_for(kind, chosen), rows=1, frames=2, learning_rate=4e-3)
    return PortraitStage(kind, chosen, CONFIG, plan=plan)


# -- what is drawn ---------------------------------------------------------------------------------------------------


def test_draws_are_aligned_and_repeatable(folder: Path) -> None:
    data = AvatarClips(folder)
    first, again = (draw(data, np.random.default_rng(5), Wish(2, 3, 64)) for _ in range(2))
    assert torch.equal(first.target, again.target) and torch.equal(first.control, again.control)
    assert first.source.shape == (2, 3, 64, 64)
    assert first.target.shape == first.control.shape == (6, 3, 64, 64)
    assert first.weight.shape == (6, 1, 8, 8) and first.weight.min() >= 1
    whole = draw(data, np.random.default_rng(5), Wish(1, 4, 256, clip=True, patches=True))
    shown = whole.patches > -1
    assert 0.02 < shown.float().mean() < 0.4
    assert torch.equal(whole.patches[shown], whole.control[shown])
    larger = draw(data, np.random.default_rng(5), Wish(1, 2, 512, 512))
    assert larger.target.shape == (2, 3, 512, 512) and larger.weight.shape == (2, 1, 64, 64)


def test_control_sources_and_kinds(folder: Path) -> None:
    data = AvatarClips(folder)

    def control(**kind: object) -> Draw:
        return draw(data, np.random.default_rng(8), Wish(1, 2, 256, control=ControlKind(**kind)))  # type: ignore[arg-type]

    own, other = control(source="self", scaling=False), control()

    def gap(drawn: Draw) -> float:
        """How far the control's colours are from the target's, whatever its light."""
        a, b = (x.flatten(2) - x.mean((2, 3))[..., None] for x in (drawn.control, drawn.target))
        return float(1 - torch.nn.functional.cosine_similarity(a.mean(1), b.mean(1), dim=-1).mean())

    assert gap(own) < gap(other)
    drawn = control(landmarks=True)
    assert (drawn.control == -1).float().mean() > 0.6  # lines on black
    seen = []
    reenacted = control(source="face-vid2vid", reenact=lambda portrait, driving: seen.append(portrait) or driving)
    assert len(seen) == 1 and reenacted.control.shape == (2, 3, 256, 256)
    fixed = [ControlKind(scaling=on).factors(np.random.default_rng(1)) for on in (True, False)]
    assert fixed[1] == (1.0, 1.0) and all(0.9 <= f <= 1.1 and f != 1 for f in fixed[0])


def test_landmarks_are_drawn_where_they_are() -> None:
    points = np.full((68, 2), 40.0, np.float32)
    points[48:60] = np.stack([np.linspace(90, 110, 12), np.full(12, 100)], 1)
    drawn = draw_landmarks(points, 128)
    assert np.abs(drawn[100, 100].astype(int) - [255, 0, 80]).max() <= 8  # anti-aliased
    assert drawn[:30].max() == 0


def test_hold_out_and_marked_groups(folder: Path, tmp_path: Path) -> None:
    assert AvatarClips(folder, hold_out=1).refresh() == 1
    assert AvatarClips(folder, hold_out=1, only_held_out=True).refresh() == 0
    assert AvatarClips(folder, only_held_out=True).refresh() == 0
    with pytest.raises(InputError, match="holds nothing to train on"):
        stage("motion", tmp_path).pairs()


# -- what is learned -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "joint", "factor"), [
    ("appearance", False, 0.6), ("motion", False, 0.85), ("motion", True, 0.6), ("local", False, 0.95),
    ("temporal", False, 0.95),
])  # fmt: skip
def test_each_stage_lowers_its_own_loss_on_a_fixed_batch(folder: Path, kind: str, joint: bool, factor: float) -> None:
    chosen = stage(kind, folder, joint=joint)
    torch.manual_seed(0)
    model = chosen.build()
    (turn,) = chosen.turns
    names = set(trained_names(model, chosen.turns))
    trained = [p.requires_grad_(name in names) for name, p in model.named_parameters() if name in names]
    batch = chosen.batch(np.random.default_rng(1), 2)
    optimizer = torch.optim.AdamW(trained, lr=turn.learning_rate)
    losses = []
    for _ in range(25):
        terms = turn.loss(model, batch, torch.Generator().manual_seed(3))
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < factor * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_a_stage_names_is_changed(folder: Path, tmp_path: Path, kind: str) -> None:
    chosen = stage(kind, folder, tmp_path, steps=2)
    start = {name: value.clone() for name, value in chosen.build().state_dict().items()}
    train(chosen, chosen.options)
    end = checkpoints.find(tmp_path).weights()
    learning = (*chosen.plan.trained, "motion_head") if kind == "motion" else chosen.plan.trained
    for name, value in start.items():
        if not checkpoints.within(name, learning):
            assert value.contiguous().numpy().tobytes() == end[name].numpy().tobytes(), name
    for part in learning:
        changed = [not torch.equal(v, end[name]) for name, v in start.items() if checkpoints.within(name, (part,))]
        assert any(changed), part


def test_a_resumed_stage_is_the_same_and_checkpointing_changes_nothing(folder: Path, tmp_path: Path) -> None:
    for name, slices, recompute in (("whole", (3,), False), ("parts", (1, 3), False), ("again", (3,), True)):
        for last in slices:
            chosen = stage("motion", folder, tmp_path / name, steps=3, joint=True, checkpointing=recompute)
            chosen.after_step = lambda model, step, last=last: _stop(step, last)  # type: ignore[method-assign]
            train(chosen, chosen.options)
    whole, parts, again = (checkpoints.find(tmp_path / n).weights() for n in ("whole", "parts", "again"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert all(torch.allclose(value, again[name], atol=1e-5) for name, value in whole.items())


def _stop(step: int, last: int) -> None:
    import os
    import signal

    if step == last < 3:
        os.kill(os.getpid(), signal.SIGTERM)


def test_teaching_alone_touches_the_control_only(folder: Path) -> None:
    chosen = stage("motion", folder, only_teach=True)
    model = chosen.build()
    terms = chosen.loss(model, chosen.batch(np.random.default_rng(0), 1), torch.Generator().manual_seed(0))
    assert list(terms) == ["teach"]
    assert chosen.turns[0].parts == ("motion_control", "motion_head")


def test_pictures_a_clip_and_a_pipeline_come_out(folder: Path, tmp_path: Path) -> None:
    chosen = stage("local", folder)
    model = chosen.build().eval()
    grid, clip = chosen.pictures(model), chosen.clip(model)
    assert grid.shape == (4 * 64, 4 * 64, 3) and grid.dtype == np.uint8
    assert clip is not None and len(clip) == 8 and clip[0].shape == (64, 256, 3)
    assert np.array_equal(grid, chosen.pictures(model))
    assert stage("appearance", folder).clip(model) is None
    chosen.export(model, tmp_path / "out")
    pipe = XPortraitPipeline.from_pretrained(tmp_path / "out")
    assert pipe.local_control is not None and pipe.temporal is None and pipe.image_size == 64
    again = PortraitModel(fresh(9, CONFIG).networks(("local_control", "temporal")))
    chosen.start(again, tmp_path / "out")
    assert torch.allclose(again.unet.conv_in.weight, model.unet.conv_in.weight.float(), atol=1e-3)


def test_presets_say_what_the_paper_says() -> None:
    paper = PRESETS["sd15-paper"]
    assert [paper[kind].steps for kind in KINDS] == [30_000] * 4
    assert [paper[kind].rows * paper[kind].frames * 8 for kind in KINDS[:3]] == [16] * 3
    assert paper["temporal"].frames == 16 and paper["temporal"].clip
    assert not any("unet" in paper[kind].trained for kind in KINDS)
    without = plan_for("temporal", TrainOptions("x-portrait/temporal", (), "out", local=False))
    assert "local_control" not in without.present
