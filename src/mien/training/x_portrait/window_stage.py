"""Stages of X-Portrait nano, which works on face windows: `x-portrait/face-window`, and `-temporal` for M.

The portrait is moved by its keypoints first, as far as a reader of faces tells them; the networks see the driving
face's own pixels, rectified onto the portrait's face, and learn what the keypoints did not tell: winks, gaze, teeth,
wrinkles. All networks are trained together, for at this size there is no backbone to protect. The driving face of a
sample is another person in the target's very motion (X-Portrait, Section 3.2 makes such pairs by F; rendered people
give them exactly).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import InputError
from mien.models.x_portrait import FACE_WINDOW, XPortraitConfig
from mien.training.data.samples import SampleSource
from mien.training.data.stage import SampleStage
from mien.training.engine.checkpoints import fill, find
from mien.training.engine.config import StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.latent_diffusion import side_by_side
from mien.training.x_portrait.face_reading_loss import FaceReadingLoss
from mien.training.x_portrait.face_windows import WindowBatch, draw_batch
from mien.training.x_portrait.window_export import to_pipeline
from mien.training.x_portrait.window_model import LAST, SPATIAL, FaceWindowModel, change_of, fresh, read_start
from mien.training.x_portrait.window_rows import WindowSpec
from mien.typing import Picture

_DETAIL = 1.5  # of differences from the mean of the neighbours
_NOISY = 0.3  # of the samples are not noised to the end, so that more steps than one are known
_DEEPEST = 850  # how far below the last timestep those go
# In half sides: where a face's importance lies (landmarks, weight, deviation), beside the face itself and the rest.
_PARTS = (
    (slice(36, 42), 8.0, 0.13),
    (slice(42, 48), 8.0, 0.13),
    (slice(48, 68), 8.0, 0.2),
    (slice(17, 22), 2.0, 0.14),
    (slice(22, 27), 2.0, 0.14),
)
_FACE, _REST = 0.5, 0.01


@dataclass(frozen=True)
class WindowConfig(StageConfig):
    """Of all stages that work on face windows."""

    frames: int = option(2, "Targets of a source.", least=1)
    side: int | None = option(
        None, "Side of the windows, a multiple of 16; smaller ones come first.", unit="pixels", least=64
    )
    self_driven: bool = option(False, "The driving frame is always the target itself (ablation a).")
    reading_weight: float = option(3.0, "Of what a frozen face reader sees; 0: it does not look.", least=0)


@dataclass(frozen=True)
class FaceWindowConfig(WindowConfig):
    """Of both stages."""

    local: bool = option(True, "A local control (off: ablation b).")
    scaling: bool = option(True, "Heterogeneous scaling of the driving face (off: ablation c).")
    control: str = option("image", "image, or landmarks (baseline).", choices=("image", "landmarks"))


class FaceWindowStage(SampleStage):
    """See the module."""

    options: FaceWindowConfig
    steps, batch_size, warmup, ema = 12_000, 6, 100, 0.998

    def __init__(
        self, options: FaceWindowConfig, config: XPortraitConfig = FACE_WINDOW, data: SampleSource | None = None
    ) -> None:
        self.name, self.options, self.config, self.data = options.stage, options, config, data
        self.side = options.side or config.image_size
        if self.side % 16:
            raise InputError(f"--side is {self.side}: give a multiple of 16.")
        self.temporal = options.stage.endswith("temporal")
        self.without = (() if options.get("local", True) else ("local_control",)) + (
            () if self.temporal else ("temporal",)
        )
        self._reading: FaceReadingLoss | None = None
        parts = ("temporal",) if self.temporal else tuple(part for part in SPATIAL if part not in self.without)
        self.optimizer_steps = (OptimizerStep("face-window", parts, 5e-4, self.loss, (0.9, 0.98), 1e-3),)
        if self.temporal:
            self.steps, self.batch_size = 1500, 1

    def spec(self, sources: int) -> WindowSpec:
        """What a batch is to be.

        Args:
            sources: how many.

        Returns:
            The specification.
        """
        given = self.options
        ablated = {"scaling": given.scaling, "landmarks": given.control == "landmarks"}
        return WindowSpec(sources, given.frames, self.side, self.temporal, given.self_driven, **ablated)

    # -- networks ----------------------------------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """See `Stage.build`."""
        return fresh(self.options.loop.seed, self.config)

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: A run, or an exported pipeline folder."""
        assert isinstance(model, FaceWindowModel)
        exported = (place / "model_index.json").is_file()
        fill(model, read_start(place, model) if exported else find(place).averaged_weights(), self.outside())

    # -- data and loss -----------------------------------------------------------------------------------------------

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """See `Stage.batch`: `batch_size` sources with `frames` targets each."""
        return self._drawn(rng, self.spec(batch_size))

    def _drawn(self, rng: np.random.Generator, spec: WindowSpec) -> Batch:
        return draw_batch(self.samples(), rng, spec).batch()

    def images(self, batch: Batch) -> int:
        """See `Stage.images`: targets."""
        return len(batch["target"])

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """Differences of pixels and of detail, weighted towards eyes and mouth, and what the face reader sees."""
        given = self._given(batch)
        sources, count = len(given.source), len(given.target)
        times = _draw_times(sources, generator).repeat_interleave(count // sources).to(given.target.device)
        made = self._made(model, given, times, generator, learning=not self.temporal)
        weight = importance(given.neutral, made.shape[-1])
        total = weight.sum() * 3
        losses = {
            "pixels": ((made - given.target).abs() * weight).sum() / total,
            "detail": _DETAIL * ((_detail(made) - _detail(given.target)).abs() * weight).sum() / total,
        }
        if self.options.reading_weight:
            if self._reading is None:
                self._reading = FaceReadingLoss(made.device)
            seen = slice(int(torch.randint(3, (1,), generator=generator)), None, 3)  # a third of them, for time
            seen = seen if len(made) > 2 else slice(None)
            points, shapes = self._reading(made[seen], given.target[seen])
            losses["points"] = 2 * self.options.reading_weight * points
            losses["blendshapes"] = 0.3 * self.options.reading_weight * shapes
        return losses

    def _given(self, batch: Batch) -> Any:
        """The batch as the model is shown it."""
        return WindowBatch.of(batch)

    def _made(self, model: nn.Module, given: Any, times: Tensor, generator: torch.Generator, learning: bool) -> Tensor:
        assert isinstance(model, FaceWindowModel)
        side, patch = given.target.shape[-1], model.vae.patch
        shape = (len(given.target), 3 * patch**2, side // patch, side // patch)
        noise = torch.randn(shape, generator=generator).to(given.target.device)
        change = change_of(model.networks(self.without), given, noise, times, learning)
        return change.picture(given.moved)

    # -- to look at --------------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: rows of source, moved portrait, rectified driving frame, made, target."""
        return np.concatenate(self._look(model, replace(self.spec(4), frames=2, clip=False), 101))

    def clip(self, model: nn.Module) -> list[Picture] | None:
        """See `Stage.clip`: moved, driving face, made and target side by side, 8 frames."""
        return self._look(model, replace(self.spec(1), frames=8, clip=True), 102)

    def _look(self, model: nn.Module, spec: WindowSpec, seed: int) -> list[Picture]:
        device = next(model.parameters()).device
        fixed = self._drawn(np.random.default_rng(seed), spec)
        given = self._given({name: value.to(device) for name, value in fixed.items()})
        times = torch.full((len(given.target),), LAST, device=device)
        made = self._made(model, given, times, torch.Generator().manual_seed(0), learning=False)
        columns = [given.moved, shown_driver(given), made.clamp(-1, 1), given.target]
        if not spec.clip:
            columns.insert(0, given.source.repeat_interleave(spec.frames, 0))
        return side_by_side(columns)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: A folder for `XPortraitPipeline.from_pretrained`."""
        assert isinstance(model, FaceWindowModel)
        to_pipeline(model, self.config, self.without).save_pretrained(folder)


def shown_driver(given: Any) -> Tensor:
    """What a model was shown of the driving face.

    Args:
        given: the batch.

    Returns:
        At the windows' side, [n, 3, s, s].
    """
    side: int = given.target.shape[-1]
    return functional.interpolate(given.driver, size=(side, side), mode="bilinear", align_corners=False)


def importance(neutral: Tensor, side: int) -> Tensor:
    """How much pixels count: eyes and mouth most.

    Args:
        neutral: keypoints without expression [n, 70, 2] in [-1, 1].
        side: of the windows, pixels.

    Returns:
        [n, 1, side, side], above 0.
    """
    from mien.models.x_portrait.window_head import face_ellipse

    steps = (torch.arange(side, device=neutral.device) + 0.5) * (2 / side) - 1
    weight = (_FACE * face_ellipse(side, neutral.device)[0] + _REST).repeat(len(neutral), 1, 1)
    for part, amount, deviation in _PARTS:
        middle = neutral[:, part].mean(1)
        across, down = (steps - middle[:, axis, None] for axis in (0, 1))
        far = down.square()[:, :, None] + across.square()[:, None, :]
        weight = weight + amount * torch.exp(-far / (2 * deviation**2))
    return weight[:, None]


def _draw_times(count: int, generator: torch.Generator) -> Tensor:
    deep = (LAST - _DEEPEST * torch.rand(count, generator=generator).square()).long()
    return torch.where(torch.rand(count, generator=generator) < _NOISY, deep, LAST)


def _detail(pictures: Tensor) -> Tensor:
    return pictures - functional.avg_pool2d(pictures, 3, 1, 1)
