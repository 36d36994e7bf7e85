"""Stage `dex/expression-views`: the expression encoder says of a turned face what it says of it from the front.

    mien train dex/expression-views --start MODEL --data CAST.safetensors --out RUN

Codes should not depend on the head's pose (DeX-Portrait, Section 3.1), yet a window model that learns together with its
encoder needs no such codes: it sees how faces turn. So this comes last. People are rendered in one expression from
several sides, and of each side the encoder learns to tell the code that the encoder of MODEL, frozen, tells of the
front. What codes mean stays as it was, and so does everything that reads them.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder
from mien.models.face_networks import LandmarkNetwork
from mien.motion.inputs import TurnedCrop
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.pipelines.pictures import to_uint8
from mien.training.data.pictures import to_tensor
from mien.training.data.rendered_people import RenderedPeople, RenderOptions
from mien.training.engine.config import StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.training.latent_diffusion import WEIGHTS_FILE
from mien.typing import Picture

_FRONT = 2.0  # degrees, deviation of the frontal view's turn
_TURNS = (40.0, 20.0, 12.0)  # degrees of yaw, pitch and roll, either way, of the other views
_OPTIONS = RenderOptions(random_people=0.5, styled=0.15, distinct=0.5)
_LIGHT, _TINT, _BRIGHTNESS = (0.75, 1.3), (0.93, 1.07), 0.12  # how views are changed: gamma, colours, sum
_BODY = 0.3  # of the learning rate, for the layers below the code
_SHOWN = 6  # rows of the picture grid


@dataclass(frozen=True)
class ExpressionViewsConfig(StageConfig):
    """Options of `dex/expression-views`, beside those of every stage."""

    views: int = option(3, "Views of each expression beside the frontal one.", least=1)


class ExpressionModel(nn.Module):
    """The expression encoder, and the same as it was, which goes into the run's checkpoint and never learns."""

    def __init__(self, encoder: FaceExpressionEncoder) -> None:
        super().__init__()
        self.expression_encoder, self.teacher = encoder, deepcopy(encoder)


class ExpressionViews(Stage):
    """The expression encoder learns to tell of every side of a face the code that it told of its front."""

    steps, batch_size = 2000, 8
    ema = 0.99

    def __init__(self, options: ExpressionViewsConfig) -> None:
        """options: of the stage.

        Raises:
            InputError: no model folder to start from, or data that are no packed cast.
        """
        self.name, self.options = options.stage, options
        sources = options.sources()
        if len(sources) != 1 or not sources[0][0].is_file():
            raise InputError("views are rendered from one packed cast: give --data a file of `mien data pack`.")
        if options.start is None:
            raise InputError("give --start a model folder of DeX-Portrait on face windows, whose codes are kept.")
        if not (Path(options.start) / "model_index.json").is_file():
            raise InputError(f"{options.start} is no model folder: give --start one of DeX-Portrait on face windows.")
        self._people = RenderedPeople(sources[0][0], options.loop.seed, _OPTIONS)
        self.optimizer_steps = (
            OptimizerStep(
                "views", ("expression_encoder.head", "expression_encoder.features"),
                options.loop.learning_rate or 3e-4, self.loss, (0.9, 0.98), 0.0, {"expression_encoder.features": _BODY},
            ),
        )  # fmt: skip

    def check(self) -> None:
        """See `Stage.check`."""
        _ = self._people.cast

    # -- networks ----------------------------------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """See `Stage.build`: the encoder of the model folder."""
        encoder = self._pipeline().expression_encoder
        if not isinstance(encoder, FaceExpressionEncoder):
            raise InputError(f"{self.options.start} is not DeX-Portrait on face windows: its codes are not of nano's.")
        return ExpressionModel(encoder.float())

    def loaded_anew(self) -> dict[str, Path]:
        """See `Stage.loaded_anew`: what reads the codes and is exported with the encoder must stay the same."""
        assert self.options.start is not None
        return {part: Path(self.options.start) / part / WEIGHTS_FILE for part in ("injection", "unet")}

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: `build` has taken everything already."""

    def _pipeline(self) -> DeXPortraitPipeline:
        assert self.options.start is not None
        return DeXPortraitPipeline.from_pretrained(Path(self.options.start))

    # -- data and loss -----------------------------------------------------------------------------------------------

    def at_step(self, step: int) -> None:
        """See `Stage.at_step`."""
        self._people.at_step(step)

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """Expressions from several sides.

        Args:
            rng: of this batch.
            batch_size: how many expressions, n.

        Returns:
            front [n, 3, s, s] and views [n * (views + 1), 3, s, s], in [-1, 1]: each front, and all sides of it.
        """
        return self._drawn(self._people, rng, batch_size)

    def _drawn(self, people: RenderedPeople, rng: np.random.Generator, count: int) -> Batch:
        fronts, views = [], []
        for _ in range(count):
            turns = rng.uniform(-1, 1, (self.options.views + 1, 3)) * _TURNS
            turns[0] = rng.normal(size=3) * _FRONT
            frames = people.views(rng, LandmarkNetwork.SIDE, turns)
            crops = [TurnedCrop.upright(f.landmarks).extract(f.picture, LandmarkNetwork.SIDE) for f in frames]
            fronts.append(crops[0])
            views.extend(crops)
        return {"front": to_tensor(fronts), "views": _relit(to_tensor(views), rng)}

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """How far the codes of all views are from the frozen encoder's of the front.

        Args:
            model: an `ExpressionModel`.
            batch: see `batch`.
            generator: has no influence.

        Returns:
            views: squared distances over the squared length of codes.
        """
        assert isinstance(model, ExpressionModel)
        with torch.no_grad():
            wanted = model.teacher.eval()(batch["front"])
        codes = model.expression_encoder(batch["views"]).unflatten(0, (len(wanted), -1))
        away = (codes - wanted[:, None]).square().sum(-1)
        return {"views": away.mean() / wanted.square().sum(-1).mean()}

    # -- to look at --------------------------------------------------------------------------------------------------

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: fronts and their views, below each a bar as long as its code is like the front's."""
        assert isinstance(model, ExpressionModel)
        people = RenderedPeople(self._people.pack, self.options.loop.seed, _OPTIONS)  # those of step 0, whoever learns
        batch = self._drawn(people, np.random.default_rng(101), _SHOWN)
        device = next(model.parameters()).device
        codes = model.expression_encoder(batch["views"].to(device)).unflatten(0, (_SHOWN, -1))
        wanted = model.teacher(batch["front"].to(device))
        alike = torch.cosine_similarity(codes, wanted[:, None], -1).clamp(0, 1).cpu()
        shown = np.stack(to_uint8(batch["views"]))
        side, columns = shown.shape[1], alike.shape[1]
        shown = shown.reshape(_SHOWN, columns, side, side, 3)
        for row in range(_SHOWN):
            for column in range(columns):
                shown[row, column, -6:, : round(float(alike[row, column]) * side)] = (40, 200, 40)
        grid: Picture = np.concatenate([np.concatenate(list(row), 1) for row in shown], 0)
        return grid

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: the model that was started from, with this encoder."""
        assert isinstance(model, ExpressionModel)
        pipe = self._pipeline()
        pipe.expression_encoder.load_state_dict(model.expression_encoder.state_dict())
        pipe.save_pretrained(folder)


def _relit(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures [n, 3, h, w] in [-1, 1], each in another light."""
    count = len(pictures)
    gamma, colours, sums = (
        torch.from_numpy(rng.uniform(low, high, (count, channels, 1, 1)).astype(np.float32))
        for (low, high), channels in ((_LIGHT, 1), (_TINT, 3), ((-_BRIGHTNESS, _BRIGHTNESS), 1))
    )
    plain = ((pictures + 1) / 2).clamp(1e-4, 1)
    return (2 * colours * plain**gamma - 1 + sums).clamp(-1, 1)
