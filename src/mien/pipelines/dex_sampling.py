"""Sampling of DeX-Portrait: what the frames in flight are made from, and the guided prediction of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.diffusion import FrontState, WindowPlan, expression_weight, noised, progressive_hybrid
from mien.models.dex_portrait import Conditions, DeXPortraitNetworks, Pose
from mien.models.dex_portrait.expression_shape import ExpressionShape
from mien.models.reenactor import Reenactor
from mien.models.x_portrait import ReferenceBank
from mien.motion.keypoint_motion import FaceMotion, KeypointMotion
from mien.pipelines.reenactment import Reenacted, Reenactment, Start

GUIDANCE = ("progressive", "plain")
NULL_EXPRESSIONS = ("learned", "zeros", "source")


@dataclass(frozen=True)
class DeXSampling:
    """Resolved options of a run. guidance: "progressive" (Eq. 5) or "plain"; hold: its S, None: scaled to the steps.
    null_expression: what stands for no expression: learned tokens, zeros, or the portrait's own expression."""

    plan: WindowPlan
    guidance_scale: float
    guidance: str = "progressive"
    hold: int | None = None
    null_expression: str = "learned"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("guidance", self.guidance, GUIDANCE),
            ("null_expression", self.null_expression, NULL_EXPRESSIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")

    def weight(self, step: int, steps: int) -> float:
        """How much of the expression this step sees."""
        return expression_weight(step, steps, self.hold) if self.guidance == "progressive" else 1.0


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


class SampledDeXPipeline(Protocol):
    """What sampling is computed from: `DeXPortraitPipeline`, which need not be imported for it."""

    scheduler: Any
    config: Any
    _execution_device: torch.device

    @property
    def networks(self) -> DeXPortraitNetworks:
        """All networks."""

    def _encode(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pictures [n, 3, h, w] in [-1, 1] to scaled latents."""


class DeXFront:
    """The reference bank of the portrait and the guided prediction of a window."""

    def __init__(
        self,
        pipe: SampledDeXPipeline,
        sampling: DeXSampling,
        sources: Sequence[Tensor],
        driven: Driven,
        callback: Callable[..., Any] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.pipe, self.sampling, self.sources, self.driven = pipe, sampling, sources, driven
        self.networks = pipe.networks
        self.device = pipe._execution_device
        self.timesteps = [t.to(self.device) for t in pipe.scheduler.timesteps]
        self.callback, self.progress = callback, progress
        self.source_pose = driven.source_pose.to(self.device)
        self.bank: ReferenceBank | None = None
        self.starts: dict[int, Start] = {}
        self.predicted = 0
        self.total = sampling.plan.cost(len(self.timesteps), len(driven))

    def begin(
        self,
        generator: torch.Generator | None,
        starts: Iterator[Reenacted] | None = None,
        state: FrontState | None = None,
    ) -> Iterator[Tensor]:
        """x_T of one frame after the other: the source's latents noised to the first timestep (X-NeMo).

        starts: the reenactor's pictures, whose latents then take the place of the source's. state: of a front that is
        to go on; `starts` then begin with the first frame that has not come out, and frames that went in already get
        no noise.
        """
        first, pulled = (0, 0) if state is None else (state.emitted, state.pulled)
        self.predicted = self.total * first // len(self.driven)
        if starts is not None:
            for index in range(first, pulled):
                self._begun(index, next(starts))
        return self._noisy(range(pulled, len(self.driven)), generator, starts)

    def _noisy(
        self, rows: Iterable[int], generator: torch.Generator | None, starts: Iterator[Reenacted] | None
    ) -> Iterator[Tensor]:
        level = int(self.timesteps[0])
        device = torch.device("cpu") if generator is None else generator.device
        for index in rows:
            clean = self.sources[0] if starts is None else self._begun(index, next(starts))
            noise = torch.randn(clean.shape, generator=generator, device=device).to(clean)
            yield noised(clean, noise, self.pipe.scheduler.alphas_cumprod, level)[0]

    @torch.no_grad()
    def _begun(self, index: int, start: Reenacted) -> Tensor:
        latents = self.pipe._encode(start.picture[None])
        self.starts[index] = Start(start.picture, latents, start.face)
        return latents

    def release(self, finished: Iterator[Tensor], first: int = 0) -> Iterator[tuple[Tensor, Start | None]]:
        """Final latents with what they started from, if that was not the source; it is forgotten then.

        first: the number of the first frame that comes.
        """
        for index, latents in enumerate(finished, first):
            yield latents, self.starts.pop(index, None)

    def _beside(self, rows: Sequence[int]) -> Tensor:
        return torch.cat([self.starts[row].latents for row in rows]) if self.starts else self.sources[0]

    @torch.no_grad()
    def predict(self, step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        """The guided prediction for one window of frames `rows` with latents [f, c, h, w]."""
        if self.bank is None:
            self.bank = self.networks.read_appearance(self.sources)
        timestep = self.timesteps[step]
        scaled = self.pipe.scheduler.scale_model_input(latents, timestep)
        chosen = slice(rows[0], rows[-1] + 1)
        codes = self.driven.expression[chosen].to(self.device)
        given = Conditions(
            bank=self.bank,
            latents=self._beside(rows),
            source_pose=self.source_pose,
            pose=self.driven.pose[chosen].to(self.device),
            tokens=self.networks.injection.tokens(codes),
            ray_maps=bool(self.pipe.config.ray_maps),
            warping=bool(self.pipe.config.warping),
        )
        got = self._guided(scaled, timestep, given, self.sampling.weight(step, len(self.timesteps)))
        self._report(step, latents)
        return got

    def _guided(self, latents: Tensor, timestep: Tensor, given: Conditions, weight: float) -> Tensor:
        count, scale = len(latents), self.sampling.guidance_scale

        def predict(what: Conditions) -> Tensor:
            return self.networks.predict(latents, timestep, count, what)

        whole = predict(given) if weight > 0 else None
        without = predict(replace(given, tokens=self._no_expression(count))) if weight < 1 else None
        if scale != 1:
            nothing = predict(Conditions(tokens=self.networks.injection.no_expression(count)))
        else:  # guided by 1, the unconditional prediction has no weight
            known = whole if whole is not None else without
            assert known is not None
            nothing = torch.zeros_like(known)
        return progressive_hybrid(nothing, without, whole, scale, weight)

    def _no_expression(self, count: int) -> Tensor:
        injection, kind = self.networks.injection, self.sampling.null_expression
        if kind == "learned":
            return injection.no_expression(count)
        own = self.driven.source_expression.to(self.device)
        codes = own if kind == "source" else torch.zeros_like(own)
        return injection.tokens(codes).expand(count, -1, -1)

    def _report(self, step: int, latents: Tensor) -> None:
        self.predicted += len(latents)
        if self.callback is not None:
            self.callback(self.pipe, step, int(self.timesteps[step]), {"latents": latents})
        if self.progress is not None and self.total:
            self.progress(min(1.0, self.predicted / self.total))
