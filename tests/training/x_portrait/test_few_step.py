"""Distillation: the boundary, who moves, and that the loss falls."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import InputError
from mien.models.x_portrait import XPortraitConfig
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.training.data.collate import Draw
from mien.training.data.types import Wish
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Batch
from mien.training.x_portrait.few_step import FewStepModel, FewStepStage, boundary
from mien.training.x_portrait.recipes import plan_for
from mien.training.x_portrait.stage import PortraitStage
from tiny import TINY, tiny_pipeline

EPS = dataclasses.replace(TINY, image_size=32)
CLEAN = dataclasses.replace(EPS, source_in_sample=True, prediction_type="sample")


class Noise:
    """Pictures of noise: what is learned here is to agree with oneself."""

    def at_step(self, step: int) -> None: ...

    def refresh(self) -> int:
        return 1


def noise_batch(wish: Wish, factor: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    count, cells = wish.sources * wish.frames, wish.size // factor
    shape = (count, 3, wish.size, wish.size)
    target, control = (torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))
    weight, regions = torch.ones(count, 1, cells, cells), torch.zeros(count, 7, cells, cells)
    return Draw(target[: wish.sources], target, control, control, weight, regions).batch()


def make(config: XPortraitConfig, start: Path, **more: object) -> FewStepStage:
    options = TrainOptions("x-portrait/few-step", (), "out", start=str(start), precision="fp32", **more)  # type: ignore[arg-type]
    plan = dataclasses.replace(plan_for("few-step", options), rows=1, frames=2)
    return FewStepStage(options, config, Noise(), plan)  # type: ignore[arg-type]


def test_the_boundary_is_the_latent_itself() -> None:
    noisy, clean = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    at_zero = boundary(noisy, clean, torch.tensor([0, 999]))
    assert torch.allclose(at_zero[0], noisy[0])
    assert torch.allclose(at_zero[1], clean[1], atol=1e-2)


@pytest.mark.parametrize(("config", "guidance"), [(CLEAN, 1.0), (EPS, 3.0)])
def test_the_student_learns_and_the_teacher_does_not(tmp_path: Path, config: XPortraitConfig, guidance: float) -> None:
    tiny_pipeline(1, config).save_pretrained(tmp_path / "start")
    stage = make(config, tmp_path / "start", guidance=guidance)
    model = stage.build()
    assert isinstance(model, FewStepModel)
    stage.start(model, tmp_path / "start")
    teacher = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    assert all(torch.equal(value, model.unet.state_dict()[n[5:]]) for n, value in teacher.items() if n[:5] == "unet.")
    batch = noise_batch(stage.wish(1), 2)
    model.requires_grad_(False)
    assert [part for part in stage.plan.trained if part in model.teacher] == list(stage.plan.trained)
    learning = [p.requires_grad_(True) for part in stage.plan.trained for p in getattr(model, part).parameters()]
    optimizer, losses = torch.optim.AdamW(learning, 3e-4), []
    for step in range(12):
        terms = stage.loss(model, batch, torch.Generator().manual_seed(5))
        optimizer.zero_grad()
        terms["consistency"].backward()
        optimizer.step()
        stage.after_step(model, step)
        losses.append(float(terms["consistency"].detach()))
    assert losses[-1] < 0.95 * losses[0], losses
    assert all(torch.equal(value, teacher[name]) for name, value in model.teacher.state_dict().items())
    slow = model.slow["unet"].conv_in.weight
    assert not torch.equal(slow, model.unet.conv_in.weight)
    assert not torch.equal(slow, teacher["unet.conv_in.weight"])


def test_what_is_exported_needs_few_steps(tmp_path: Path) -> None:
    tiny_pipeline(1, EPS).save_pretrained(tmp_path / "start")
    stage = make(EPS, tmp_path / "start")
    assert stage.guidance == 5.0
    model = stage.build()
    stage.start(model, tmp_path / "start")
    stage.export(model, tmp_path / "out")
    pipe = XPortraitPipeline.from_pretrained(tmp_path / "out")
    assert pipe.default_options["num_inference_steps"] == 4 and pipe.default_options["guidance_scale"] == 1.0
    assert type(pipe.scheduler).__name__ == "LCMScheduler"


def test_it_needs_a_start() -> None:
    with pytest.raises(InputError, match="needs --start"):
        FewStepStage(TrainOptions("x-portrait/few-step", (), "out"), CLEAN).check()
    assert isinstance(FewStepStage(TrainOptions("x-portrait/few-step", (), "out"), CLEAN), PortraitStage)
    assert np.isclose(FewStepStage(TrainOptions("x-portrait/few-step", (), "out"), CLEAN).guidance, 1.0)
