"""Stage `reenactor`: nano's 𝓕, trained on avatars by reconstruction.

A person in one motion and the keypoints of another are given; the person in that other motion is the ground truth.
Loss: L1 over a Laplacian pyramid, eyes and mouth counting most, of the picture and of the source that is merely moved,
so that the flow learns first. With `--preset sharp` a patch discriminator is asked as well: L1 alone makes of teeth and
lashes a mean of all that could be there. The linear part, how keypoints follow blendshapes, is fitted by
`keypoint_basis`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mien.avatars.group_files import GroupFolder
from mien.errors import InputError, WeightsError
from mien.models.reenactor import Reenactor, ReenactorConfig, Rendered
from mien.models.reenactor.discriminator import Discriminator, feature_distance, hinge
from mien.training.engine import checkpoints
from mien.training.engine.config import StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.training.reenactor.collate import BatchSpec, draw_batch
from mien.training.vae import pyramid_l1
from mien.typing import Picture

_MOVED = 0.4  # weight of the loss on the moved source
_NOISE = 0.7  # pixels by which landmarks are off
_SHOWN = 6  # rows of the picture grid
_WINDOW = 128  # pixels
PRESETS = ("plain", "sharp")
_TRUE, _FEATURES = 0.05, 2.0  # weights of the discriminator's verdict and of its features


@dataclass(frozen=True)
class ReenactorStageConfig(StageConfig):
    """Of nano's one-pass F."""

    preset: str = option("plain", "plain, or sharp: with a discriminator.", choices=PRESETS)
    window: int = option(
        _WINDOW, "Side of the target's windows; below 128 they lie at an eye or the mouth.", unit="pixels", least=32
    )
    frames: int = option(4, "Targets of a source.", least=1)


class SharpReenactor(nn.Module):
    """The reenactor and its discriminator under one roof."""

    def __init__(self, reenactor: Reenactor) -> None:
        super().__init__()
        self.reenactor = reenactor
        self.discriminator = Discriminator()


class ReenactorStage(Stage):
    """Appearance, motion field and generator together; windows of the target first (`--window 128`), then whole."""

    name = "reenactor"
    steps, batch_size = 3000, 4

    def __init__(self, options: ReenactorStageConfig, config: ReenactorConfig | None = None) -> None:
        self.options, self.config = options, config or ReenactorConfig()
        self.window, self.targets = options.window, options.frames
        self.sharp = options.preset == "sharp"
        parts: tuple[str, ...] = ("appearance", "motion_field", "generator")
        rate = options.loop.learning_rate or 6e-4
        self.optimizer_steps: tuple[OptimizerStep, ...] = (OptimizerStep("reenactor", parts, rate, self.loss),)
        if self.sharp:
            parts, betas = tuple(f"reenactor.{part}" for part in parts), (0.5, 0.99)
            self.optimizer_steps = (
                OptimizerStep("reenactor", parts, rate, self.sharp_loss, betas),
                OptimizerStep(
                    "discriminator", ("discriminator",), 1e-3, self.discriminator_loss, betas, weight_decay=0.0
                ),
            )
        self._data: GroupFolder | None = None

    def build(self) -> nn.Module:
        """Fresh networks; the basis is taken from a file basis.safetensors in a data folder, where there is one."""
        torch.manual_seed(self.options.loop.seed)
        model = Reenactor.of(self.config)
        for path, _ in self.options.sources():
            basis = path / "basis.safetensors"
            if basis.is_file():
                tensors = load_file(basis)
                model.mean.copy_(tensors["mean"])
                model.shapes.copy_(tensors["shapes"])
        whole = SharpReenactor(model) if self.sharp else model
        return whole.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: from a folder as `export` writes it, or from a run of this stage."""
        if (place / "config.json").is_file():
            weights = Reenactor.from_pretrained(place).state_dict()
        else:
            whole = checkpoints.find(place).averaged_weights()
            weights = {
                name.removeprefix("reenactor."): part
                for name, part in whole.items()
                if not name.startswith("discriminator.")
            }
        try:
            reenactor_of(model).load_state_dict(weights)
        except RuntimeError as error:
            raise WeightsError(f"{place} does not fit the reenactor: {error}") from error

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """See `Stage.batch`, and `reenactor.collate`.

        Of windows every other time smaller ones, at eyes and mouth, and twice as many.
        """
        if self.window == _WINDOW and rng.random() < 0.5:
            return draw_batch(self._groups(), rng, BatchSpec(batch_size, 2 * self.targets, self.window // 2, _NOISE))
        return draw_batch(self._groups(), rng, BatchSpec(batch_size, self.targets, self.window, _NOISE))

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """L1 of the picture and of the moved source."""
        rendered = render(model, batch)
        return {
            "picture": pyramid_l1(rendered.picture, batch["target"], batch["weight"]),
            "moved": _MOVED * pyramid_l1(rendered.moved, batch["target"], batch["weight"]),
        }

    def sharp_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """As `loss`, and the discriminator's; leaves the picture for its optimizer step.

        Args:
            model: with a discriminator.
            batch: see `reenactor.collate`.
            generator: has no influence.

        Returns:
            By name, already weighted.
        """
        assert isinstance(model, SharpReenactor)
        rendered = render(model.reenactor, batch)
        batch["rendered"] = rendered.picture.detach()
        score, features = model.discriminator(rendered.picture)
        with torch.no_grad():
            _, wanted = model.discriminator(batch["target"])
        return {
            "picture": pyramid_l1(rendered.picture, batch["target"], batch["weight"]),
            "moved": _MOVED * pyramid_l1(rendered.moved, batch["target"], batch["weight"]),
            "true": -_TRUE * (score.float() * _patches(batch["weight"], score)).mean(),
            "features": _FEATURES * feature_distance(features, wanted),
        }

    def discriminator_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """Hinge; eyes and mouth count most here too.

        Args:
            model: with a discriminator.
            batch: with the picture that `sharp_loss` left.
            generator: has no influence.

        Returns:
            By name.
        """
        assert isinstance(model, SharpReenactor)
        true, false = model.discriminator(batch["target"])[0], model.discriminator(batch["rendered"])[0]
        return {"discriminator": hinge(true, false, _patches(batch["weight"], true))}

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: rows of source, moved source, picture, ground truth.

        They are of people who are not trained on, where there are any.
        """
        data, rng = self._groups(held_out=True), np.random.default_rng(101)
        rows = []
        for _ in range(_SHOWN):
            batch = draw_batch(data, rng, BatchSpec(1, 1, self.config.image_size, 0.0))
            device = next(model.parameters()).device
            rendered = render(reenactor_of(model), {name: value.to(device) for name, value in batch.items()})
            columns = (batch["source"], rendered.moved, rendered.picture, batch["target"])
            rows.append(torch.cat([column.float().cpu() for column in columns], 3)[0])
        grid = torch.cat(rows, 1).clamp(-1, 1)
        return ((grid + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()

    def refresh(self) -> None:
        """Look for new groups."""
        if self._data is not None:
            self._data.refresh()

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: A folder as `XPortraitPipeline` loads it: config.json and weights, float16."""
        reenactor_of(model).to(torch.float16).save_pretrained(folder)

    def _groups(self, held_out: bool = False) -> GroupFolder:
        folders = [path for path, _ in self.options.sources() if path.is_dir()]
        if len(folders) != 1:
            raise InputError("the stage reenactor needs --data with one folder of `mien data avatars`.")
        if held_out:
            data = GroupFolder(folders[0], self.options.dataset.hold_out, True)
            if data.groups:
                return data
        if self._data is None:
            self._data = GroupFolder(folders[0], self.options.dataset.hold_out)
        return self._data


def reenactor_of(model: nn.Module) -> Reenactor:
    """The reenactor of what the stage trains.

    Args:
        model: with a discriminator or without.

    Returns:
        The reenactor.
    """
    inner = model.reenactor if isinstance(model, SharpReenactor) else model
    assert isinstance(inner, Reenactor)
    return inner


def _patches(weight: Tensor, score: Tensor) -> Tensor:
    """A weight for each of the discriminator's patches, mean 1."""
    coarse = functional.adaptive_avg_pool2d(weight, (score.shape[-2], score.shape[-1]))
    return coarse / coarse.mean()


def render(model: nn.Module, batch: Batch) -> Rendered:
    """A batch's targets as the model sees them.

    Args:
        model: a reenactor.
        batch: see `reenactor.collate`.

    Returns:
        The pictures, moved and finished.
    """
    assert isinstance(model, Reenactor)
    each = len(batch["target"]) // len(batch["source"])
    features, keypoints = model.appearance(batch["source"]), batch["keypoints"].repeat_interleave(each, 0)
    window = batch["target"].shape[-1]
    rendered: Rendered = model(batch["source"], features, keypoints, batch["driven"], batch["corners"], window)
    return rendered
