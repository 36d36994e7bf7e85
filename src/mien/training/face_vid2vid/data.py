"""Batches for Face Vid2Vid: a person's picture, other pictures of the same person, exact head poses, patch corners."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.errors import InputError
from mien.geometry import HeadPose
from mien.geometry.mirror import mirrored_landmarks
from mien.geometry.patches import patch_boxes
from mien.models.face_vid2vid.config import BIN_DEGREES, BINS, FIRST_BIN
from mien.training.data.video_clips import VideoClips
from mien.training.dex_portrait.data import GroupScenes, Moment, OnlineScenes, Scene, SceneData
from mien.training.engine.config import TrainOptions
from mien.training.engine.stage import Batch

Pixels = NDArray[np.uint8]
_LARGEST = min(-FIRST_BIN, FIRST_BIN + BIN_DEGREES * (BINS - 1))  # degrees that both ways can be told
_TRIES = 20
_GAIN, _SHIFT = 0.1, 13.0  # of the colours, the same for all pictures of a row


class VideoScenes(VideoClips):
    """Scenes from videos that `mien data prepare` cut: poses are read ones, not exact."""

    def scene(self, rng: np.random.Generator, drivers: int, clip: bool, views: bool) -> Scene:
        """See `SceneData.scene`; there are no views."""
        chosen = self.clips[int(rng.integers(len(self.clips)))]
        with np.load(chosen) as content:
            landmarks, poses, seen = (content[name] for name in ("landmarks", "head_pose", "seen"))
        known = np.flatnonzero(seen)
        if not len(known):
            raise InputError(f"{chosen.with_suffix('.mp4')} shows no face: cut it anew by mien data prepare.")
        start, *rows = [int(row) for row in rng.choice(known, drivers + 1, replace=len(known) <= drivers)]
        if clip:
            first = int(rng.integers(max(1, len(known) - drivers + 1)))
            rows = [int(row) for row in np.resize(known[first : first + drivers], drivers)]
        frames = self._frames(chosen)
        made = [Moment(np.array(frames[row]), landmarks[row], poses[row]) for row in (start, *rows)]
        return Scene(made[0], made[1:])


def open_data(options: TrainOptions, side: int, held_out: bool = False) -> list[tuple[SceneData, float]]:
    """The data that the options name, with shares: groups of avatars, packed casts, prepared videos.

    held_out: only groups that are kept for validation; the list may then be empty. Raises InputError where a place
    holds nothing to train on.
    """
    opened: list[tuple[SceneData, float]] = []
    for path, share in options.sources():
        if held_out:
            groups = GroupScenes(path, options.hold_out, True) if path.is_dir() else None
            if groups is not None and groups.refresh():
                opened.append((groups, share))
            continue
        data: SceneData
        if path.is_file():
            data = OnlineScenes(path, side)
        elif any(path.glob("*_[0-9][0-9][0-9].npz")):
            data = VideoScenes(path)
        else:
            data = GroupScenes(path, options.hold_out)
        if path.is_dir() and not data.refresh():
            raise InputError(
                f"{path} holds nothing to train on: give a folder of `mien data avatars` or `mien data prepare`, "
                "or a file of `mien data pack`."
            )
        opened.append((data, share))
    return opened


class VidBatches:
    """Draws batches from scenes."""

    def __init__(self, data: Sequence[tuple[SceneData, float]], side: int) -> None:
        """side: of the pictures, pixels."""
        self.data, self.side = list(data), side

    def draw(
        self, rng: np.random.Generator, sources: int, targets: int, clip: bool = False, plain: bool = False
    ) -> Batch:
        """`sources` people with `targets` targets each, targets of one source neighbours.

        source [r, 3, s, s] and target [n, 3, s, s] in [-1, 1]; source_angles [r, 3] and angles [n, 3]: yaw, pitch and
        roll in degrees; corners [n, 3, 2]: upper left corners (x, y) of the eye and mouth patches. plain: neither
        mirrored nor tinted.
        """
        columns: dict[str, list[NDArray[np.generic]]] = {}
        for _ in range(sources):
            scene = self._scene(rng, targets, clip)
            flip = not plain and bool(rng.random() < 0.5)
            gain, shift = rng.uniform(1 - _GAIN, 1 + _GAIN, 3), rng.uniform(-_SHIFT, _SHIFT, 3)
            if plain:
                gain, shift = np.ones(3), np.zeros(3)
            for index, moment in enumerate((scene.source, *scene.drivers)):
                picture, points = _resized(moment, self.side)
                picture, points, angles = _mirrored(picture, points, angles_of(moment), flip)
                tinted = np.clip(picture * gain + shift, 0, 255).astype(np.uint8)
                put: dict[str, NDArray[np.generic]] = {"source": tinted, "source_angles": angles}
                if index:
                    corners = np.array([box[:2] for box in patch_boxes(points, self.side)])
                    put = {"target": tinted, "angles": angles, "corners": corners}
                for name, value in put.items():
                    columns.setdefault(name, []).append(value)
        return {name: _tensor(np.stack(column)) for name, column in columns.items()}

    def _scene(self, rng: np.random.Generator, targets: int, clip: bool) -> Scene:
        """A scene whose heads are all turned by less than the bins can tell."""
        shares = np.array([share for _, share in self.data])
        for _ in range(_TRIES):
            data = self.data[int(rng.choice(len(self.data), p=shares / shares.sum()))][0]
            scene = data.scene(rng, targets, clip, False)
            if all(np.abs(angles_of(moment)).max() <= _LARGEST for moment in (scene.source, *scene.drivers)):
                return scene
        raise InputError(f"heads in the training data are turned by more than {_LARGEST:.0f} degrees: name other data.")


def angles_of(moment: Moment) -> NDArray[np.float32]:
    """Yaw, pitch and roll [3], degrees."""
    pose = HeadPose(np.asarray(moment.pose[:3]), np.asarray(moment.pose[3:5]), float(moment.pose[5]))
    return np.array([pose.yaw, pose.pitch, pose.roll], np.float32)


def _mirrored(
    picture: Pixels, points: NDArray[np.floating], angles: NDArray[np.float32], flip: bool
) -> tuple[Pixels, NDArray[np.floating], NDArray[np.float32]]:
    if not flip:
        return picture, points, angles
    mirrored = mirrored_landmarks(points, picture.shape[1])
    return picture[:, ::-1], mirrored, angles * np.array([-1, 1, -1], np.float32)


def _resized(moment: Moment, side: int) -> tuple[Pixels, NDArray[np.floating]]:
    have = moment.picture.shape[0]
    if have == side:
        return moment.picture, np.asarray(moment.landmarks)
    how = cv2.INTER_AREA if have > side else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(moment.picture, (side, side), interpolation=how), np.uint8)
    return picture, np.asarray(moment.landmarks) * (side / have)


def _tensor(stacked: NDArray[np.generic]) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(stacked))
    if tensor.dtype == torch.uint8:
        return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return tensor
