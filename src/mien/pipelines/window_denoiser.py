"""What denoisers of models for face windows share: frames keep what is done to them, not what they look like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mien.diffusion import SamplerState
from mien.geometry.face_window import PaintedWindow
from mien.models.x_portrait import WindowChange
from mien.pipelines.pictures import to_uint8
from mien.pipelines.sampling import FrameDenoiser, Start

_CHANGE = "change."
_PARTS = (2, 1, 3)  # channels of flow, share and paint, as they are stacked


def packed_windows(starts: Sequence[Start | None]) -> Tensor:
    """What was made of face windows, as pictures.

    Args:
        starts: of frames whose last step is done.

    Returns:
        `PaintedWindow.packed` as bytes [n, 3, 3 s, s].
    """
    made = []
    for start in starts:
        assert start is not None and start.change is not None  # a frame comes out after its last step
        change = start.change
        paint = to_uint8(change.paint)[0]
        share, flow = change.share[0, 0].float().cpu().numpy(), change.flow[0].float().permute(1, 2, 0).cpu().numpy()
        made.append(torch.from_numpy(PaintedWindow(paint, share, flow).packed()))
    return torch.stack(made).permute(0, 3, 1, 2)


def stacked(change: WindowChange) -> Tensor:
    """A change as one tensor, so that predictions can be guided.

    Args:
        change: flow, share and paint.

    Returns:
        [n, 6, s, s].
    """
    return torch.cat([change.flow, change.share, change.paint], 1)


def unstacked(change: Tensor) -> WindowChange:
    """What `stacked` was given; shares that guidance drove out of [0, 1] are held there.

    Args:
        change: [n, 6, s, s].

    Returns:
        Flow, share and paint.
    """
    flow, share, paint = change.split(_PARTS, 1)
    return WindowChange(flow, share.clamp(0, 1), paint)


class WindowDenoiser(FrameDenoiser):
    """A denoiser that may be one of face windows; `changes` is empty for models that are not."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.changes: dict[int, list[Tensor]] = {}  # of frames that the last step has seen, one a window

    def release(self, index: int) -> Start | None:
        """See `FrameDenoiser.release`."""
        start, seen = super().release(index), self.changes.pop(index, None)
        if start is None or not seen:
            return start
        return replace(start, change=unstacked(torch.stack(seen).mean(0)[None]))

    def kept_with(self, state: SamplerState) -> SamplerState:
        """See `FrameDenoiser.kept_with`."""
        kept = {f"{_CHANGE}{index}": torch.stack(seen).cpu() for index, seen in self.changes.items()}
        return replace(state, tensors={**state.tensors, **kept})

    def init_latents(
        self, frames: Iterable[Any], generator: torch.Generator | None, state: SamplerState | None = None
    ) -> Iterator[Tensor]:
        """See `FrameDenoiser.init_latents`."""
        for name, seen in {} if state is None else state.tensors.items():
            if name.startswith(_CHANGE):
                self.changes[int(name.removeprefix(_CHANGE))] = list(seen.to(self.device))
        return super().init_latents(frames, generator, state)

    def finished_windows(self, step: int, rows: Sequence[int], change: Tensor, moved: Tensor, like: Tensor) -> Tensor:
        """x_0 of face windows; at the last step what was done to them is kept in its place, all that comes out.

        Args:
            step: of the denoising.
            rows: the window's frames.
            change: what is done to them [f, 6, s, s], see `stacked`.
            moved: the moved portraits [f, 3, s, s].
            like: the noisy latents.

        Returns:
            Latents of the shape of `like`; after the last step nobody looks at them.
        """
        if step == len(self.timesteps) - 1:
            for row, one in zip(rows, change, strict=True):
                self.changes.setdefault(row, []).append(one)
            return like
        picture = unstacked(change).picture(moved).to(like)
        latents: Tensor = self.pipe.vae.encode(picture).latent_dist.mode()
        return latents
