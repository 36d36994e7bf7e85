"""The stages of the face-window model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mien.pipelines.x_portrait import XPortraitPipeline
from mien.training.engine.stage import trained_names
from mien.training.engine.trainer import train
from mien.training.registry import configure
from mien.training.x_portrait.face_reading_loss import FaceReadingLoss
from mien.training.x_portrait.window_stage import FaceWindowStage, importance
from tiny import TINY_WINDOW

from .test_face_windows import OneSample, neutral_face


def stage(name: str = "face-window", **options) -> FaceWindowStage:  # type: ignore[no-untyped-def]
    config = configure(f"x-portrait/{name}", **{"reading_weight": 0.0, **options})
    return FaceWindowStage(config, TINY_WINDOW, OneSample())


def test_losses_fall_and_the_result_is_a_pipeline(tmp_path: Path) -> None:
    options = {"out": str(tmp_path / "run"), "steps": 80, "batch_size": 2, "show_every": 0, "log_every": 80}
    made = stage(**options, precision="fp32", learning_rate=5e-3)
    model = made.build()
    batch = made.batch(np.random.default_rng(0), 2)

    def total(model: torch.nn.Module) -> float:
        return float(sum(made.loss(model, batch, torch.Generator().manual_seed(0)).values()))

    before = total(model)
    outcome = train(made, made.options)
    assert outcome.finished
    trained = made.build()
    made.start(trained, tmp_path / "run")
    assert total(trained) < 0.9 * before
    made.export(trained, tmp_path / "model")
    pipe = XPortraitPipeline.from_pretrained(tmp_path / "model")
    assert pipe.face_window == 32 and pipe.temporal is None and pipe.default_options["overlap"] == 0


def test_only_m_learns_in_its_stage_and_sees_clips() -> None:
    made = stage("face-window-temporal")
    names = trained_names(made.build(), made.optimizer_steps)
    assert names and all(name.startswith("temporal.") for name in names)
    batch = made.batch(np.random.default_rng(0), 1)
    losses = made.loss(made.build(), batch, torch.Generator().manual_seed(0))
    assert len(batch["target"]) == 2 and all(torch.isfinite(value) for value in losses.values())


def test_without_a_local_control_nothing_of_it_learns_or_is_exported(tmp_path: Path) -> None:
    made = stage(local=False)
    model = made.build()
    assert not any("local_control" in name for name in trained_names(model, made.optimizer_steps))
    made.export(model, tmp_path)
    assert XPortraitPipeline.from_pretrained(tmp_path).local_control is None


def test_eyes_and_mouth_are_important() -> None:
    points = torch.from_numpy(neutral_face((0, 0)) / 90)[None]
    weight = importance(points, 64)[0, 0]
    x, y = ((points[0, 36:42].mean(0) + 1) * 32).int().tolist()
    assert weight[y, x] > 10 * weight[32, 60] and weight[0, 0] < 0.05


def test_what_the_reader_sees_has_gradients_and_is_nothing_where_pictures_agree() -> None:
    torch.manual_seed(0)
    reading, wanted = FaceReadingLoss(), torch.rand(1, 3, 48, 48)
    made = wanted.clone().requires_grad_()
    points, shapes = reading(made, wanted)
    assert float(points.detach()) == 0 and float(shapes.detach()) == 0
    seen = reading.read(made)
    seen[0].sum().backward()
    assert made.grad is not None and made.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in reading._landmarks.parameters())
