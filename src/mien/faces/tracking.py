"""Following one face through a clip: holes are filled, counted and reported, never fatal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mien.faces.reading import FaceReader, FaceReading

State = Literal["found", "interpolated", "held", "missing"]


@dataclass(frozen=True)
class TrackedFace:
    """A frame's face and where it comes from.

    Attributes:
        index: of the frame.
        reading: None only in state "missing".
        state: how it was found.
    """

    index: int
    reading: FaceReading | None
    state: State


@dataclass(frozen=True)
class TrackReport:
    """How a clip was read: frames = found + interpolated + held + missing.

    Attributes:
        frames: in all.
        found: in which the face was seen.
        interpolated: between two that were seen.
        held: as the last one seen, or the first one.
        missing: without a reading.
        longest_gap: frames in a row without a face.
    """

    frames: int = 0
    found: int = 0
    interpolated: int = 0
    held: int = 0
    missing: int = 0
    longest_gap: int = 0

    def summary(self) -> str:
        """One sentence for the user."""
        if self.found == self.frames:
            return f"a face was found in all {self.frames} frames"
        parts = [f"a face was found in {self.found} of {self.frames} frames"]
        parts += [
            f"{count} {word}"
            for count, word in (
                (self.interpolated, "interpolated"),
                (self.held, "held"),
                (self.missing, "without a face"),
            )
            if count
        ]
        return ", ".join(parts) + f" (longest gap {self.longest_gap})"


class FaceTracker:
    """Reads a clip frame by frame, in order; holds readings only, never pictures.

    A frame whose face is missing waits for the next one that has it: up to `look_ahead` frames in between are
    interpolated. In a longer gap, and at the end of the clip, the last reading is held; before the first face its
    reading is held backwards over at most `look_ahead` frames, and frames before that are "missing".
    """

    def __init__(self, reader: FaceReader, look_ahead: int = 12, start: FaceReading | None = None) -> None:
        """Begin a clip.

        Args:
            reader: of faces.
            look_ahead: longest gap that is interpolated, frames.
            start: a reading near which the face is looked for at first, to choose one of several people.
        """
        self._reader = reader
        self._look_ahead = look_ahead
        self._hint = start
        self._last: FaceReading | None = None
        self._waiting: list[int] = []
        self._gap = 0
        self._report = TrackReport()

    @property
    def report(self) -> TrackReport:
        """The count so far; complete after `finish`."""
        return self._report

    def push(self, image: np.ndarray) -> list[TrackedFace]:
        """Read the next frame.

        Args:
            image: uint8 [H, W, 3] RGB.

        Returns:
            The frames, oldest first, that are settled by it.
        """
        index = self._report.frames
        reading = self._reader.read(image, self._hint)
        self._report = replace(self._report, frames=index + 1)
        if reading is not None:
            settled = self._close_gap(reading) + [TrackedFace(index, reading, "found")]
            self._hint = self._last = reading
            self._gap = 0
            self._count(settled)
            return settled
        self._gap += 1
        # A face that was lost may come back anywhere: stop looking only where it was.
        if self._gap > self._look_ahead:
            self._hint = None
        self._report = replace(self._report, longest_gap=max(self._report.longest_gap, self._gap))
        self._waiting.append(index)
        if len(self._waiting) <= self._look_ahead and self._gap <= self._look_ahead:
            return []
        # Before any face only the oldest frame is given up: the others may still hold the first face backwards.
        start = self._last is None
        settled = [TrackedFace(self._waiting.pop(0), None, "missing")] if start else self._hold()
        self._count(settled)
        return settled

    def finish(self) -> list[TrackedFace]:
        """The frames that were still waiting at the end of the clip."""
        settled = self._hold()
        self._count(settled)
        return settled

    def track(self, images: Iterable[np.ndarray]) -> Iterator[TrackedFace]:
        """All frames of a clip in order, at most `look_ahead` frames late.

        Args:
            images: uint8 [H, W, 3] RGB, one a frame.

        Yields:
            One TrackedFace a frame.
        """
        for image in images:
            yield from self.push(image)
        yield from self.finish()

    def _hold(self) -> list[TrackedFace]:
        held = None if self._last is None else replace(self._last, confidence=0.0)
        state: State = "missing" if held is None else "held"
        settled = [TrackedFace(index, held, state) for index in self._waiting]
        self._waiting = []
        return settled

    def _close_gap(self, reading: FaceReading) -> list[TrackedFace]:
        if self._last is None:
            held = replace(reading, confidence=0.0)
            settled = [TrackedFace(index, held, "held") for index in self._waiting]
        else:
            length = len(self._waiting) + 1
            settled = [
                TrackedFace(index, self._last.interpolate(reading, step / length), "interpolated")
                for step, index in enumerate(self._waiting, 1)
            ]
        self._waiting = []
        return settled

    def _count(self, settled: list[TrackedFace]) -> None:
        states = [face.state for face in settled]
        now = self._report
        self._report = replace(
            now,
            found=now.found + states.count("found"),
            interpolated=now.interpolated + states.count("interpolated"),
            held=now.held + states.count("held"),
            missing=now.missing + states.count("missing"),
        )


def fill_start(track: list[TrackedFace]) -> list[TrackedFace]:
    """A whole track without "missing" frames: those before the first face hold its reading.

    A track without any face comes back as it is.
    """
    first = next((face.reading for face in track if face.reading is not None), None)
    if first is None:
        return track
    held = replace(first, confidence=0.0)
    return [replace(face, reading=held, state="held") if face.reading is None else face for face in track]
