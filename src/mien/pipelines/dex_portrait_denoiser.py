"""DeX-Portrait's denoise_fn: poses and expression tokens of the frames, guided in the paper's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mien.diffusion import WindowPlan, expression_weight, progressive_hybrid
from mien.models.dex_portrait import Conditions, Pose
from mien.models.x_portrait import ReferenceFeatures
from mien.pipelines.pictures import PictureLike
from mien.pipelines.window_denoiser import WindowDenoiser, stacked

GUIDANCE = ("progressive", "plain")
NULL_EXPRESSIONS = ("learned", "zeros", "source")


@dataclass(frozen=True)
class Driven:
    """Every frame of the result: poses and expression codes [f, e]; the portrait's own beside them, one each.

    On face windows poses are those of heads in their own windows.
    """

    pose: Pose
    expression: Tensor
    source_pose: Pose
    source_expression: Tensor

    def __len__(self) -> int:
        return len(self.pose)


class DeXPortraitDenoiser(WindowDenoiser):
    """What `StreamingSampler` asks of DeX-Portrait.

    With `guidance` "progressive" (Eq. 5) the expression is held back for `hold` steps, its S (None: scaled to the
    steps), with "plain" it is not. `null_expression` is what stands for no expression: "learned" tokens, "zeros", or
    the portrait's own, "source".

    Attributes:
        driven: poses and expressions of every frame.
    """

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
        self._reference_features: ReferenceFeatures | None = None
        steps = len(self.timesteps)
        # how much of the expression each step sees
        self._weights = [expression_weight(i, steps, hold) if guidance == "progressive" else 1.0 for i in range(steps)]

    @torch.no_grad()
    def read(self, index: int, frame: PictureLike | None) -> Tensor:
        """See `FrameDenoiser.read`.

        Args:
            index: of the frame.
            frame: the moved portrait in its face window; None: the source is started from (X-NeMo).

        Returns:
            The clean latents [1, c, h, w] that it starts from.
        """
        return self.sources[0] if frame is None else self.start_at(index, frame)

    @torch.no_grad()
    def __call__(self, step: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        """See `FrameDenoiser.__call__`."""
        if self._reference_features is None:
            self._reference_features = self.pipe.read_reference(self.sources)
        nets, timestep, count, scale = self.networks, self.timesteps[step], len(latents), self.guidance_scale
        given, weight = self._conditions(rows), self._weights[step]
        noisy, windows = self.pipe.scheduler.scale_model_input(latents, timestep), nets.window_head is not None

        def predicted(given: Conditions) -> Tensor:
            """Of face windows, what is done to them: guided like any prediction."""
            if windows:
                return stacked(nets.change(noisy, timestep, count, given)[0])
            prediction: Tensor = nets.predict(noisy, timestep, count, given)
            return prediction

        whole = predicted(given) if weight > 0 else None
        without = predicted(replace(given, tokens=self._no_expression(count))) if weight < 1 else None
        if scale != 1:
            # what a face window starts from is no condition
            start = given.latents if windows else None
            nothing = predicted(Conditions(tokens=nets.injection.no_expression(count), latents=start))
        else:  # guided by 1, the unconditional prediction has no weight
            one = without if whole is None else whole
            assert one is not None  # the weight is below 1 or above 0
            nothing = torch.zeros_like(one)
        got = progressive_hybrid(nothing, without, whole, scale, weight)
        self.report(step, latents)
        if not windows:
            return got
        assert given.latents is not None  # a face window starts from the moved portrait
        moved = nets.vae.decode(given.latents.to(noisy)).sample
        return self.finished_windows(step, rows, got, moved, noisy)

    def _conditions(self, rows: Sequence[int]) -> Conditions:
        chosen = slice(rows[0], rows[-1] + 1)
        return Conditions(
            reference_features=self._reference_features,
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
