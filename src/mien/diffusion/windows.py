"""Overlapping windows along a clip ("prompt travelling", X-Portrait, Section 4.1).

At every step the clip is cut into windows of `length` frames that share `overlap` frames; where windows overlap, their
predictions are averaged, so the weights of every frame sum to one. The cuts lie elsewhere at every step, so that no
frame is always at a seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# the fractional part of the golden ratio spreads the cuts of successive steps as evenly as possible
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class WindowPlan:
    """Windows inside the clip, with a deterministic stagger per step; any clip of one frame or more."""

    length: int = 16
    overlap: int = 4

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a window needs at least one frame, not {self.length}")
        if not 0 <= self.overlap < self.length:
            raise ValueError(f"the overlap must be from 0 to {self.length - 1} frames, not {self.overlap}")

    @property
    def stride(self) -> int:
        """Frames from the start of one window to the next."""
        return self.length - self.overlap

    def wished(self, step: int) -> Iterator[int]:
        """Starts of the windows at a denoising step in an endless clip: 0, then the staggered lattice."""
        yield 0
        # shifted by up to a third of the stride: enough to move every seam, little enough not to cost windows
        start = max(1, self.stride - int(self.stride * ((step * GOLDEN) % 1) / 3))
        while True:
            yield start
            start += self.stride

    def windows(self, step: int, count: int) -> list[tuple[int, int]]:
        """Half-open windows (start, end) that cover `count` frames; the last is pushed back inside the clip."""
        if count < 1:
            raise ValueError("a clip needs at least one frame")
        last, cuts = max(0, count - self.length), []
        for start in self.wished(step):
            cuts.append((min(start, last), min(min(start, last) + self.length, count)))
            if start >= last:
                return cuts
        raise AssertionError("unreachable")

    def cost(self, steps: int, count: int) -> int:
        """Frames to denoise over all steps, repeats in overlaps counted."""
        return sum(end - start for step in range(steps) for start, end in self.windows(step, count))
