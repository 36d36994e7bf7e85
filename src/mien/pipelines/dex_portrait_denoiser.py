"""DeX-Portrait's denoise_fn: poses and expression tokens of the frames, guided in the paper's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.diffusion import WindowPlan, expression_weight, progressive_hybrid
from mien.models.dex_portrait import Conditions, Pose
from mien.models.dex_portrait.expression_shape import ExpressionShape
from mien.models.reenactor import Reenactor
from mien.models.x_portrait import ReferenceFeatures
from mien.motion.keypoint_motion import FaceMotion, KeypointMotion
from mien.pipelines.reenactment import Reenacted, Reenactment
from mien.pipelines.sampling import FrameDenoiser

GUIDANCE = ("progressive", "plain")
NULL_EXPRESSIONS = ("learned", "zeros", "source")


@dataclass(frozen=True)
class Driven:
    """Every frame of the result: poses and expression codes [f, e]; the portrait's own beside them, one each."""

    pose: Pose
    expression: Tensor
    source_pose: Pose
    source_expression: Tensor

    def __len__(self) -> int:
        return len(self.pose)


def reenacted(
    reenactor: Reenactor,
    shape: ExpressionShape,
    square: tuple[Tensor, NDArray[np.floating]],
    driven: Driven,
    first: int = 0,
) -> Iterator[Reenacted]:
    """The reenactor's picture of every frame from `first` on, its keypoints moved by the very codes that drive the
    networks.

    square: the portrait [1, 3, s, s] in [-1, 1] with its landmarks [68, 2], 0 to 1 across it.
    """
    own = FaceMotion(square[1] * 2 - 1, driven.source_pose.head_pose(), driven.source_expression[0].numpy())
    keypoints = KeypointMotion(shape.basis(), own)
    moving = Reenactment(reenactor, square[0], keypoints.keypoints)
    for index in range(first, len(driven)):
        yield moving.start(keypoints.posed(driven.pose.head_pose(index), driven.expression[index].numpy()))


class DeXPortraitDenoiser(FrameDenoiser):
    """guidance: "progressive" (Eq. 5) or "plain"; hold: its S, None: scaled to the steps. null_expression: what stands
    for no expression: "learned" tokens, "zeros", or the portrait's own, "source"."""

    def __init__(
        self,
        pipe: Any,
        plan: WindowPlan,
        guidance_scale: float,
        sources: Sequence[Tensor],
        driven: Driven,
        *,
        guidance: str = "progressive",
        hold: int | None = None,
        null_expression: str = "learned",
        **more: Any,
    ) -> None:
        for name, value, known in (
            ("guidance", guidance, GUIDANCE),
            ("null_expression", null_expression, NULL_EXPRESSIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        super().__init__(pipe, plan, guidance_scale, sources, len(driven), **more)
        self.driven, self._null_expression = driven, null_expression
        self._source_pose = driven.source_pose.to(self.device)
        self._bank: ReferenceFeatures | None = None
        steps = len(self.timesteps)
        # how much of the expression each step sees
        self._weights = [expression_weight(i, steps, hold) if guidance == "progressive" else 1.0 for i in range(steps)]

    @torch.no_grad()
    def read(self, index: int, frame: Reenacted | None) -> Tensor:
        """See `FrameDenoiser.read`; frame: the reenactor's picture, None: start from the source (X-NeMo)."""
        return self.sources[0] if frame is None else self.start_at(index, frame.picture, frame.face)

    @torch.no_grad()
    def __call__(self, step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        """See `FrameDenoiser.__call__`."""
        if self._bank is None:
            self._bank = self.networks.read_appearance(self.sources)
        nets, timestep, count, scale = self.networks, self.timesteps[step], len(latents), self.guidance_scale
        given, weight = self._conditions(rows), self._weights[step]
        noisy = self.pipe.scheduler.scale_model_input(latents, timestep)
        whole = nets.predict(noisy, timestep, count, given) if weight > 0 else None
        without = None
        if weight < 1:
            without = nets.predict(noisy, timestep, count, replace(given, tokens=self._no_expression(count)))
        if scale != 1:
            bare = Conditions(tokens=nets.injection.no_expression(count))
            nothing = nets.predict(noisy, timestep, count, bare)
        else:  # guided by 1, the unconditional prediction has no weight
            nothing = torch.zeros_like(noisy)
        got = progressive_hybrid(nothing, without, whole, scale, weight)
        self.report(step, latents)
        return got

    def _conditions(self, rows: Sequence[int]) -> Conditions:
        chosen = slice(rows[0], rows[-1] + 1)
        return Conditions(
            bank=self._bank,
            latents=self.source_latents(rows),
            source_pose=self._source_pose,
            pose=self.driven.pose[chosen].to(self.device),
            tokens=self.networks.injection.tokens(self.driven.expression[chosen].to(self.device)),
            ray_maps=bool(self.pipe.config.ray_maps),
            warping=bool(self.pipe.config.warping),
        )

    def _no_expression(self, count: int) -> Tensor:
        injection, kind = self.networks.injection, self._null_expression
        if kind == "learned":
            learned: Tensor = injection.no_expression(count)
            return learned
        own = self.driven.source_expression.to(self.device)
        tokens: Tensor = injection.tokens(own if kind == "source" else torch.zeros_like(own))
        return tokens.expand(count, -1, -1)
