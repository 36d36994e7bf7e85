"""Stages of DeX-Portrait nano, which works on face windows: `dex/face-window`, and `-temporal`.

    mien train dex/face-window --start X_PORTRAIT --encoders ENCODERS --data GROUPS --data PAIRED_GROUPS --out RUN

As the paper starts from Stable Diffusion, this starts from X-Portrait nano (`window_start`), a run or a model folder,
and from the encoders of a run of `dex/face-window-encoder`.

The portrait is moved by the pose first, rigidly, with its own expression; the networks are told the pose by ray maps
and by the warped reference, and the expression by the code's tokens alone. The expression encoder goes on learning
here: it is the pictures that tell it what of a face is worth a code. Presets name the ablations of the paper's Table 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.dex_portrait import FACE_WINDOW, Conditions, DeXPortraitConfig, DeXPortraitNetworks, Pose
from mien.training.data.samples import SampleSource
from mien.training.dex_portrait.animator import NOTHING_DROPPED, STARTED, Dropped, frame_rows
from mien.training.dex_portrait.losses import contrast
from mien.training.dex_portrait.window_data import DexWindowBatch, draw_batch
from mien.training.dex_portrait.window_model import DexWindowModel, fresh, to_pipeline
from mien.training.dex_portrait.window_start import take_encoders, take_start
from mien.training.engine.config import option
from mien.training.engine.stage import Batch, Losses, OptimizerStep
from mien.training.x_portrait.losses import scheduler_for
from mien.training.x_portrait.window_rows import WindowSpec
from mien.training.x_portrait.window_stage import FaceWindowStage, WindowConfig

PRESETS = ("paper", "no-ray-map", "no-warping", "no-augmentation")
LEARNING = ("empty_prompt", "appearance_reference", "unet", "injection", "window_head")
_CONTRAST = 0.05  # weight: two crops of a face have one code, and other faces' differ
_INJECTION_RATE = 2.0  # of the learning rate; it begins with nothing where all else can paint faces
_ENCODER_RATE = 0.1  # of the learning rate; a code that changes fast says nothing to the layers that read it


@dataclass(frozen=True)
class DexWindowConfig(WindowConfig):
    """Of both stages."""

    preset: str = option("paper", "paper, or an ablation: no-ray-map, no-warping, no-augmentation.", choices=PRESETS)
    encoders: str | None = option(None, "A run of dex/face-window-encoder, whose encoders are taken.")
    learn_encoder: bool = option(True, "The expression encoder goes on learning.")


class DexWindowStage(FaceWindowStage):
    """See the module."""

    options: DexWindowConfig  # type: ignore[assignment]

    def __init__(
        self, options: DexWindowConfig, config: DeXPortraitConfig = FACE_WINDOW, data: SampleSource | None = None
    ) -> None:
        super().__init__(options, config.backbone, data)  # type: ignore[arg-type]
        self.networks_config = config
        if options.encoders is not None and options.start is None:
            raise InputError("--encoders goes with --start: to start from encoders alone, give --start their run.")
        if self.temporal:
            return
        parts = (*LEARNING, *(("expression_encoder",) if options.learn_encoder else ()))
        rates = {"injection": _INJECTION_RATE}
        if options.learn_encoder:
            rates["expression_encoder"] = _ENCODER_RATE
        self.optimizer_steps = (OptimizerStep("face-window", parts, 5e-4, self.loss, (0.9, 0.98), 1e-3, rates),)

    def spec(self, sources: int) -> WindowSpec:
        """See `FaceWindowStage.spec`."""
        given, errors = self.options, self.options.preset != "no-augmentation"
        return WindowSpec(sources, given.frames, self.side, self.temporal, given.self_driven, errors=errors)

    # -- networks ----------------------------------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """See `Stage.build`."""
        return fresh(self.options.loop.seed, self.networks_config)

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start` and `take_start`; encoders that were named are taken in place of the start's.

        Args:
            model: is filled.
            place: the run or the folder.

        Raises:
            InputError: there is nothing to start from.
            WeightsError: something does not fit.
        """
        assert isinstance(model, DexWindowModel)
        take_start(model, place)
        if self.options.encoders is not None:
            take_encoders(model, Path(self.options.encoders))

    # -- data and loss -----------------------------------------------------------------------------------------------

    def _drawn(self, rng: np.random.Generator, spec: WindowSpec) -> Batch:
        return draw_batch(self.samples(), rng, spec, self.networks_config.expression.size).batch()

    def _given(self, batch: Batch) -> Any:
        return DexWindowBatch.of(batch)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """As `FaceWindowStage.loss`; and two crops of one face have one code, other than other faces'.

        Args:
            model: a `DexWindowModel`.
            batch: see `DexWindowBatch`.
            generator: of noise, timesteps and what is left out.

        Returns:
            By name, weighted.
        """
        losses = super().loss(model, batch, generator)
        if self.options.learn_encoder and not self.temporal:
            assert isinstance(model, DexWindowModel)
            one, two = (model.expression_encoder(batch[name]) for name in ("driver", "again"))
            losses["contrast"] = _CONTRAST * contrast(one, two)
        return losses

    def _made(self, model: nn.Module, given: Any, times: Tensor, generator: torch.Generator, learning: bool) -> Tensor:
        assert isinstance(model, DexWindowModel) and isinstance(given, DexWindowBatch)
        nets, device = model.networks(self.temporal), given.target.device
        side, patch = given.target.shape[-1], model.vae.patch
        frames = len(given.target) // len(given.source)
        length = frames if self.temporal else 1
        noise = torch.randn(len(given.target), 3 * patch**2, side // patch, side // patch, generator=generator)
        dropped = Dropped.draw(len(given.source), STARTED if learning else NOTHING_DROPPED, generator)
        clean, moved = (model.vae.encode(pictures).latent_dist.mode() for pictures in (given.target, given.moved))
        scheduler = scheduler_for("sample")
        noisy = scheduler.scale_model_input(scheduler.add_noise(clean, noise.to(device), times), times)
        kept, rows = frame_rows(~dropped.everything, frames, device)
        conditions = self._conditions(model, nets, given, dropped, frames)
        change, start = nets.change(noisy[rows], times[rows], length, conditions)
        made = change.picture(start)
        if len(kept) == len(given.source):
            return made
        # what guidance leads away from: neither portrait nor pose nor expression, but for what is painted on
        _, rest = frame_rows(dropped.everything, frames, device)
        nothing = Conditions(tokens=nets.injection.no_expression(len(rest)), latents=moved[rest])
        change, start = nets.change(noisy[rest], times[rest], length, nothing)
        result = torch.empty_like(given.target, dtype=made.dtype)
        return result.index_copy(0, rows, made).index_copy(0, rest, change.picture(start).to(made.dtype))

    def _conditions(
        self, model: DexWindowModel, nets: DeXPortraitNetworks, given: DexWindowBatch, dropped: Dropped, frames: int
    ) -> Conditions:
        """Of the sources that did not lose everything."""
        device = given.target.device
        kept, rows = frame_rows(~dropped.everything, frames, device)
        no_expression, no_pose = (
            lost.to(device)[kept].repeat_interleave(frames) for lost in (dropped.expression, dropped.pose)
        )
        nets.expression_encoder.eval()  # its dropout costs more than it gives
        codes = nets.expression_encoder(given.driver[rows])
        source, moved = (
            model.vae.encode(pictures).latent_dist.mode() for pictures in (given.source[kept], given.moved[rows])
        )
        return Conditions(
            reference_features=nets.read_appearance([source]),
            latents=moved,
            source_pose=Pose.from_code(given.source_pose[kept]),
            pose=Pose.from_code(given.pose[rows]),
            tokens=nets.injection.tokens(codes, no_expression),
            pose_absent=no_pose,
            ray_maps=self.options.preset != "no-ray-map",
            warping=self.options.preset != "no-warping",
        )

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: a folder for `DeXPortraitPipeline.from_pretrained`."""
        assert isinstance(model, DexWindowModel)
        how = {"ray_maps": self.options.preset != "no-ray-map", "warping": self.options.preset != "no-warping"}
        to_pipeline(model, self.networks_config, self.temporal, **how).save_pretrained(folder)
