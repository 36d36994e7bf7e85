"""Motion as numbers: tracks of head pose and expression, measured in clips or made up, saved as safetensors.

A track keeps no pixel of a clip. Shift and scale are relative to the person's own place, so that any person can perform
any track.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.avatars.camera import Floats, HeadMotion
from mien.avatars.expressions import NAMED, random_angles, random_place, talking, through
from mien.avatars.files import open_tensors, write_tensors
from mien.avatars.head_model import HeadModel
from mien.errors import InputError
from mien.faces import FaceReader, FaceTracker
from mien.media import evened, open_clip

FORMAT = "mien motion 1"
_LIVELY = 6  # tries to find a stretch of a track in which something happens


@dataclass(frozen=True, eq=False)
class Track:
    """t moments of a head.

    Attributes:
        name: in its library.
        rate: frames a second.
        angles: yaw, pitch, roll [t, 3], degrees, absolute.
        place: shift x and y in parts of the picture's side, and scale [t, 3], against the track's own mean.
        expression: [t, 57].
        seen: [t], False where the face was not found.
    """

    name: str
    rate: float
    angles: Floats
    place: Floats
    expression: Floats
    seen: np.ndarray

    def __len__(self) -> int:
        return len(self.angles)

    def motion(self, moment: int) -> HeadMotion:
        """The head at a moment."""
        return head_motion(self.angles[moment], self.place[moment])

    def smoothed(self, frames: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Angles, place and expression at chosen frames, lightly smoothed against the reader's jitter."""
        from scipy.ndimage import gaussian_filter1d

        return (
            gaussian_filter1d(self.angles[frames], 1.0, axis=0, mode="nearest").astype(np.float32),
            gaussian_filter1d(self.place[frames], 1.0, axis=0, mode="nearest").astype(np.float32),
            gaussian_filter1d(self.expression[frames], 0.7, axis=0, mode="nearest").astype(np.float32),
        )

    def lively_stretch(self, rng: np.random.Generator, count: int, stride: int) -> np.ndarray:
        """Frames of a stretch with more movement than others; shorter tracks swing back.

        Args:
            rng: draws the stretch.
            count: how many frames.
            stride: from one frame to the next.

        Returns:
            Numbers of the frames [count].
        """
        need = count * stride
        if len(self) < need:
            turn = np.concatenate([np.arange(len(self)), np.arange(len(self))[::-1]])
            return np.resize(turn, need)[::stride]
        best, most = np.arange(0, need, stride), -1.0
        for _ in range(_LIVELY):
            start = int(rng.integers(0, len(self) - need + 1))
            frames = np.arange(start, start + need, stride)
            life = float(self.expression[frames].std(0).sum() + np.ptp(self.place[frames, :2], axis=0).sum() * 4)
            if life > most and self.seen[frames].all():
                best, most = frames, life
        return best


def head_motion(angles: Floats, place: Floats) -> HeadMotion:
    """A `HeadMotion` from a moment of a track.

    Args:
        angles: [3].
        place: [3].
    """
    yaw, pitch, roll = (float(v) for v in angles)
    return HeadMotion(yaw, pitch, roll, (float(place[0]), float(place[1])), float(place[2]))


def measure_track(model: HeadModel, reader: FaceReader, clip: Path, limit: int | None = None) -> Track:
    """Read a clip.

    Args:
        model: of the head.
        reader: of faces.
        clip: the file.
        limit: frames at most, None for all.

    Raises:
        InputError: if it cannot be read or shows no face.
    """
    opened = evened(open_clip(clip))  # a track knows frames by number
    tracker = FaceTracker(reader)
    faces = [face for face in tracker.track(_first(opened, limit)) if face.reading is not None]
    if not faces:
        raise InputError(f"{clip} shows no face: use a clip of one person's face")
    readings = [face.reading for face in faces if face.reading is not None]
    angles = np.array([[r.pose.yaw, r.pose.pitch, r.pose.roll] for r in readings], np.float32)
    scale = np.array([r.pose.scale for r in readings])
    centre = np.array([r.pose.translation for r in readings]) / 2  # image units to parts of the side
    place = np.column_stack([centre - centre.mean(0), scale / scale.mean()]).astype(np.float32)
    expression = performed(model, np.stack([model.from_blendshapes(r.expression) for r in readings]))
    seen = np.array([face.state in ("found", "interpolated") for face in faces])
    return Track(clip.stem, float(opened.info.rate), angles, place, expression, seen)


def performed(model: HeadModel, blendshapes: Floats) -> Floats:
    """Coefficients by which avatars show what a reader saw.

    The shapes of ICT-FaceKit do not move the reader as faces do: a pucker or a funnel parts the lips, which reads as an
    open jaw, a smile hides one, and half of the jaw's amount of mouthClose shuts the lips. The shares were measured on
    four avatars, whose blendshapes were read again.

    Args:
        model: whose shapes are named.
        blendshapes: [t, 57] as `HeadModel.from_blendshapes` gives.

    Returns:
        [t, 57] in [0, 1].
    """

    def both(name: str) -> Floats:
        return np.asarray(blendshapes[:, [model.index(f"{name}_{side}") for side in "LR"]].mean(1), np.float32)

    jaw, pucker = blendshapes[:, model.index("jawOpen")], blendshapes[:, model.index("mouthPucker")]
    opened = np.clip(jaw / 0.25, 0, 1)  # 0: lips that touch
    hidden = opened * (0.25 * both("mouthSmile") + 0.2 * both("mouthUpperUp"))
    parted = 0.35 * blendshapes[:, model.index("mouthFunnel")] + 0.15 * both("mouthLowerDown") + 0.15 * opened * pucker
    shown = blendshapes.copy()
    shown[:, model.index("jawOpen")] = np.clip(jaw + hidden - parted, 0, 1)
    closed = model.index("mouthClose")
    shown[:, closed] = 0.5 * blendshapes[:, closed] + 0.12 * pucker * (1 - opened)
    return np.clip(shown, 0, 1).astype(np.float32)


def _first(frames: Iterable[np.ndarray], limit: int | None) -> Iterable[np.ndarray]:
    for index, frame in enumerate(frames):
        if limit is not None and index >= limit:
            return
        yield frame


def generated_track(model: HeadModel, rng: np.random.Generator, frames: int, rate: float, widest: float = 25) -> Track:
    """Somebody talks and turns the head smoothly.

    Args:
        model: of the head.
        rng: draws all.
        frames: how many.
        rate: frames a second.
        widest: yaw either way, degrees.
    """
    from scipy.interpolate import CubicSpline

    knots = np.linspace(0, frames - 1, max(3, round(frames / rate / 0.2)))
    time = np.arange(frames)
    turned = CubicSpline(knots, [random_angles(rng, widest) for _ in knots])(time)
    angles = np.clip(turned, [-widest, -15, -15], [widest, 15, 15]).astype(np.float32)
    place = CubicSpline(knots, [random_place(rng) * [0.5, 0.5, 1] for _ in knots])(time)
    place = np.clip(place, [-0.06, -0.06, 0.9], [0.06, 0.06, 1.1]).astype(np.float32)
    return Track("generated", rate, angles, place, talking(model, rng, frames, rate), np.ones(frames, bool))


def named_expressions_track(model: HeadModel, rate: float = 25.0, frames_each: int = 30) -> Track:
    """The named expressions one after another, looking straight ahead: it shows what a model can follow.

    Args:
        model: of the head.
        rate: frames a second.
        frames_each: frames for each.
    """
    shown = through(model, [name for name in NAMED if name != "neutral"], frames_each)
    still = np.tile(np.array([0, 0, 1], np.float32), (len(shown), 1))
    angles = np.zeros((len(shown), 3), np.float32)
    return Track("expressions", rate, angles, still, shown, np.ones(len(shown), bool))


def save_tracks(path: Path, tracks: list[Track], names: tuple[str, ...]) -> Path:
    """Write a motion library: tensors NAME.angles, NAME.place, NAME.expression, NAME.seen.

    Args:
        path: of the library.
        tracks: to be written.
        names: of the 57 shapes.

    Returns:
        The path.
    """
    tensors, rates = {}, {}
    for track in tracks:
        if track.name in rates:
            raise InputError(f"two tracks are called {track.name}: give the clips different names")
        rates[track.name] = track.rate
        for part in ("angles", "place", "expression", "seen"):
            tensors[f"{track.name}.{part}"] = np.ascontiguousarray(getattr(track, part))
    metadata = {"format": FORMAT, "rates": json.dumps(rates), "shapes": json.dumps(names)}
    return write_tensors(path, tensors, metadata)


def load_tracks(path: Path) -> list[Track]:
    """The tracks of a library, sorted by name.

    Raises:
        InputError: if it is missing, damaged or something else.
    """
    parts = ("angles", "place", "expression", "seen")
    with open_tensors(path, FORMAT, "motion library", "mien data motion") as (file, metadata):
        return [
            Track(name, rate, *(file.get_tensor(f"{name}.{part}") for part in parts))
            for name, rate in sorted(json.loads(metadata["rates"]).items())
        ]
