"""Keyframes: how a face looks at some frames, from which all frames follow. No driver is needed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mien.animation.face_edit import FaceChange
from mien.errors import InputError

MOST_FRAMES = 100_000  # over an hour; more is a slip of the keyboard


@dataclass(frozen=True)
class Keyframe:
    """What is changed of the portrait's own face at a frame, counted from 0."""

    frame: int
    change: FaceChange


def joined(keyframes: tuple[Keyframe, ...], added: Keyframe) -> tuple[Keyframe, ...]:
    """Keyframes with one more, by their frames. Raises InputError if two stand at one frame."""
    if any(key.frame == added.frame for key in keyframes):
        raise InputError(f"two keyframes stand at frame {added.frame}: give each keyframe a frame of its own")
    return tuple(sorted((*keyframes, added), key=lambda key: key.frame))


def changes_over_time(keyframes: tuple[Keyframe, ...], frames: int, smooth: bool) -> list[FaceChange]:
    """The change of every frame, 0 to `frames` - 1, or up to the last keyframe if `frames` is 0.

    The face goes from the portrait's own at frame 0, unless a keyframe stands there, from keyframe to keyframe, and
    keeps the last one's. smooth: slow at the keyframes (a cubic between them), else at an even speed.
    """
    if frames == 0:
        frames = keyframes[-1].frame + 1
    if frames > MOST_FRAMES:
        raise InputError(f"{frames} frames are too many for one batch: ask for {MOST_FRAMES} at most")
    keys = keyframes if keyframes[0].frame == 0 else (Keyframe(0, FaceChange()), *keyframes)
    changes: list[FaceChange] = []
    for start, end in zip(keys, keys[1:], strict=False):
        for frame in range(start.frame, min(end.frame, frames)):
            way = (frame - start.frame) / (end.frame - start.frame)
            changes.append(between(start.change, end.change, way * way * (3 - 2 * way) if smooth else way))
    changes += [keys[-1].change] * (frames - len(changes))
    return changes


def between(start: FaceChange, end: FaceChange, way: float) -> FaceChange:
    """From `start` (way 0) to `end` (way 1): all numbers go evenly, the zoom by even factors."""
    values = {part.name: getattr(start, part.name) for part in fields(FaceChange) if part.name != "blendshapes"}
    mixed = {name: value + way * (getattr(end, name) - value) for name, value in values.items()}
    mixed["zoom"] = start.zoom * (end.zoom / start.zoom) ** way
    return FaceChange(**mixed)
