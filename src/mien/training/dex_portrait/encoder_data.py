"""Batches for the supervised training of DeX-Portrait nano's encoders: pictures, exact poses, exact displacements.

Data: folders of groups (`mien.avatars.groups`). Where an expression is there under two poses (`mien data avatars
--paired`), the second view of a frame is the other pose; where a pose is there with two expressions, the pose encoder
is shown both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.avatars.group_files import GroupFolder
from mien.errors import InputError
from mien.geometry.mirror import MIRROR
from mien.geometry.pose import rotation_matrix, rotation_vector
from mien.models.dex_portrait.pose import codes_of_head_poses
from mien.motion.inputs import face_crop, masked_frame
from mien.motion.keypoint_motion import closed_lips
from mien.training.data.pictures import to_tensor
from mien.training.engine.stage import Batch
from mien.training.reenactor.keypoint_basis import fit_basis, head_shapes

Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]

_RIDGE = 0.1
_KEYPOINT_MIRROR = np.append(MIRROR, [len(MIRROR) + 1, len(MIRROR)])


@dataclass(frozen=True, eq=False)
class EncoderGroup:
    """One group.

    Attributes:
        frames: [p, m, s, s, 3] as on disk.
        landmarks: [p, m, 68, 2], pixels.
        codes: of poses [p, m, 6].
        moved: displacement of keypoints from the person's neutral [p, m, 70, 3], half face heights.
        other: [m], the motion with the same expression; -1: none.
        twin: [m], the motion with the same pose; -1: none.
        scores: expressions as they were commanded [m, e].
        mirrored: [e], of each score that of the other side.
    """

    frames: Pixels
    landmarks: Floats
    codes: Floats
    moved: Floats
    other: NDArray[np.int64]
    twin: NDArray[np.int64]
    scores: Floats
    mirrored: NDArray[np.int64]


@dataclass(frozen=True)
class EncoderAugmentation:
    """How pictures are changed.

    Attributes:
        zoom: factors of the whole picture.
        shift: of the picture, half sides, either way.
        roll: of the picture, degrees, either way.
        degrees: of the crops, either way.
        jitter: of a crop's box, a part of it.
        color_jitter: of colours, a part of them.
        poor: chance of blur, noise and JPEG.
        other_view: whether a frame is also shown under another pose.
        other_person: chance that somebody else shows the expression there.
    """

    zoom: tuple[float, float] = (0.75, 1.3)
    shift: float = 0.2
    roll: float = 25.0
    degrees: float = 45.0
    jitter: float = 0.08
    color_jitter: float = 0.15
    poor: float = 0.4
    other_view: bool = True
    other_person: float = 0.0

    @classmethod
    def none(cls) -> EncoderAugmentation:
        """Pictures as they are: the paper's ablation without augmentation."""
        return cls((1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, other_view=False)


class EncoderData:
    """Draws frames from groups of one or more folders."""

    def __init__(
        self,
        folders: Sequence[Path],
        hold_out: int = 0,
        only_held_out: bool = False,
        weights: Mapping[Path, float] | None = None,
    ) -> None:
        """hold_out, only_held_out: as of `GroupFolder`. weights: of the draws by folder, None: as many as they hold.

        Raises:
            InputError: nothing fits.
        """
        found = [group for folder in folders for group in GroupFolder(folder, hold_out, only_held_out, True).groups]
        if not found:
            raise InputError(f"{folders[0]} holds no groups of avatars to train on: make them by mien data avatars.")
        shapes = [head_shapes(group, group.side) for group in found]
        self.mean, neutrals = _neutrals(shapes, [group["expression"] for group in found])
        self.groups = [
            EncoderGroup(
                group.frames,
                group.landmarks,
                codes_of_head_poses(group["head_pose"].reshape(-1, 6)).reshape(group["head_pose"].shape),
                (shape - neutral[:, None]).astype(np.float32),
                partners(group["expression"]),
                partners(np.column_stack([group["rotation"].reshape(-1, 9), group["shift_scale"]])),
                np.asarray(group["expression"], np.float32),
                _other_side(group.meta.get("expression_names"), group["expression"].shape[1]),
            )
            for group, shape, neutral in zip(found, shapes, neutrals, strict=True)
        ]
        odds = np.array([group.people for group in found], np.float64)
        for folder, weight in (weights or {}).items():
            of_folder = np.array([group.folder == folder for group in found])
            odds[of_folder] *= weight / max(odds[of_folder].sum(), 1)
        self._odds = odds / odds.sum()

    def draw(
        self, rng: np.random.Generator, batch_size: int, sides: tuple[int, int], augmentation: EncoderAugmentation
    ) -> Batch:
        """masked [n, 3, sides[0], ...] with pose [n, 6]; crop, again [n, 3, sides[1], ...] with moved [n, 70, 3].

        twins [k, 3, sides[0], ...]: of some samples, `twin_of` [k], the same person in the same pose with another
        expression, changed as that sample's picture is.
        """
        masked, poses, crops, again, twins, twin_of, scores = [], [], [], [], [], [], []
        moved: list[NDArray[np.float32]] = []
        moved_again: list[NDArray[np.float32]] = []
        for row in range(batch_size):
            group = self.groups[int(rng.choice(len(self.groups), p=self._odds))]
            person, motion = int(rng.integers(len(group.frames))), int(rng.integers(len(group.other)))
            flip = bool(rng.random() < 0.5)
            picture, marks = flipped(group.frames[person, motion], group.landmarks[person, motion], flip)
            code, twin = _mirrored_code(group.codes[person, motion], flip), int(group.twin[motion])
            if twin >= 0 and augmentation.other_view:
                seen = flipped(group.frames[person, twin], group.landmarks[person, twin], flip)
                twins.append(_turned(*seen, code, sides[0], augmentation, deepcopy(rng))[0])
                twin_of.append(row)
            shown, code = _turned(picture, marks, code, sides[0], augmentation, rng)
            masked.append(shown)
            poses.append(code)
            crops.append(augmented_crop(picture, marks, sides[1], augmentation, rng))
            view = int(group.other[motion]) if augmentation.other_view else -1
            other = person
            if augmentation.other_person and rng.random() < augmentation.other_person:
                other = int(rng.integers(len(group.frames)))
            if view >= 0 or other != person:
                view = motion if view < 0 else view
                picture, marks = flipped(group.frames[other, view], group.landmarks[other, view], flip)
            again.append(augmented_crop(picture, marks, sides[1], augmentation, rng))
            for column, shape in ((moved, group.moved[person, motion]), (moved_again, group.moved[other, motion])):
                column.append(shape[_KEYPOINT_MIRROR] * np.array([-1, 1, 1], np.float32) if flip else shape)
            scores.append(group.scores[motion][group.mirrored] if flip else group.scores[motion])
        pictures = {"masked": masked, "crop": crops, "again": again}
        numbers = {"pose": poses, "moved": moved, "moved_again": moved_again, "scores": scores}
        if twins:
            pictures["twins"], numbers["twin_of"] = twins, twin_of
        return {
            **{name: to_tensor(column) for name, column in pictures.items()},
            **{name: torch.from_numpy(np.stack(column).astype(np.float32)) for name, column in numbers.items()},
        }


def count_groups(folders: Sequence[Path]) -> int:
    """How many groups there are that have been written to their end."""
    return sum(len(list(folder.glob("group_*_people.json"))) for folder in folders)


def _other_side(names: NDArray[np.str_] | None, count: int) -> NDArray[np.int64]:
    """Of each score the place of that of the other side of the face; groups without names have no sides."""
    if names is None:
        return np.arange(count)
    known = [str(name) for name in names]
    swap = {"_L": "_R", "_R": "_L", "Left": "Right", "Right": "Left"}
    others = [next((n.replace(a, b) for a, b in swap.items() if n.endswith(a)), n) for n in known]
    return np.array([known.index(other) if other in known else place for place, other in enumerate(others)])


def partners(expression: Floats) -> NDArray[np.int64]:
    """For each of the motions [m, e] another one with the very same expression, -1: there is none."""
    same = (expression[:, None] == expression[None]).all(-1)
    np.fill_diagonal(same, False)
    return np.where(same.any(1), same.argmax(1), -1)


def _neutrals(shapes: Sequence[Floats], expressions: Sequence[Floats]) -> tuple[NDArray[np.float32], list[Floats]]:
    """The mean neutral head [70, 3], and every group's people's neutral ones [p, 70, 3], lips closed.

    Displacements are linear in the commanded expression up to what each person adds: a ridge with common weights and an
    intercept for each person.
    """
    rows = [shape.reshape(-1, 70, 3) for shape in shapes]
    scores = [np.tile(e, (len(shape), 1)) for e, shape in zip(expressions, shapes, strict=True)]
    counts = [len(shape) for shape in shapes]
    person = np.repeat(np.arange(sum(counts)), np.repeat([len(e) for e in expressions], counts))
    _, weights = fit_basis(np.concatenate(scores), np.concatenate(rows), person, _RIDGE)
    neutrals = []
    for shape, expression in zip(shapes, expressions, strict=True):
        mean = shape.mean(1) - np.tensordot(expression.mean(0), weights, 1)
        neutrals.append(np.stack([closed_lips(own) for own in mean]))
    common: NDArray[np.float32] = np.concatenate(neutrals).mean(0).astype(np.float32)
    return common, [neutral.astype(np.float32) for neutral in neutrals]


# -- pictures ----------------------------------------------------------------------------------------------------------


def flipped(picture: Pixels, marks: Floats, flip: bool) -> tuple[Pixels, Floats]:
    """A square picture and its landmarks [68, 2] in a mirror, or as they are."""
    if not flip:
        return np.asarray(picture), marks
    return np.ascontiguousarray(picture[:, ::-1]), marks[MIRROR] * [-1, 1] + [picture.shape[1], 0]


def _mirrored_code(code: Floats, flip: bool) -> Floats:
    """A turn's vector keeps its part across the mirror and loses the sign of the others."""
    return code * [1, -1, -1, -1, 1, 1] if flip else code


def _turned(
    picture: Pixels, marks: Floats, code: Floats, size: int, augmentation: EncoderAugmentation, rng: np.random.Generator
) -> tuple[Pixels, Floats]:
    """The masked picture under a random similarity, at `size`, and its pose code."""
    angle, zoom = (
        np.deg2rad(rng.uniform(-augmentation.roll, augmentation.roll)),
        np.exp(rng.uniform(*np.log(augmentation.zoom))),
    )
    shift = rng.uniform(-augmentation.shift, augmentation.shift, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    small = _coloured(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), augmentation, rng)
    masked = masked_frame(small, marks * (size / picture.shape[0]))
    half = size / 2
    linear = zoom * turn
    centre = np.full(2, half - 0.5)  # the picture's middle, from the first pixel's centre
    matrix = np.column_stack([linear, centre + shift * half - linear @ centre])
    border = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT, cv2.BORDER_CONSTANT)[int(rng.integers(3))]
    colour = [int(c) for c in rng.integers(0, 256, 3)]
    shown = cv2.warpAffine(masked, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=colour)
    whole = np.eye(3)
    whole[:2, :2] = turn
    vector = rotation_vector(whole @ rotation_matrix(code[:3]))
    return np.asarray(shown, np.uint8), np.array([*vector, *(linear @ code[3:5] + shift), code[5] + np.log(zoom)])


def augmented_crop(
    picture: Pixels, marks: Floats, size: int, augmentation: EncoderAugmentation, rng: np.random.Generator
) -> Pixels:
    """The face as `face_crop` cuts it from landmarks that are not quite right."""
    extent = float(np.ptp(marks, axis=0).max())
    places = (
        marks + rng.normal(size=marks.shape) * 0.006 * extent + rng.normal(size=2) * augmentation.jitter / 2 * extent
    )
    scale = 1.1 * rng.uniform(1 - augmentation.jitter, 1 + augmentation.jitter)
    degrees = rng.uniform(-augmentation.degrees, augmentation.degrees) if rng.random() < 0.7 else 0.0
    return _coloured(face_crop(picture, places, size, degrees, scale), augmentation, rng)


def _coloured(picture: Pixels, augmentation: EncoderAugmentation, rng: np.random.Generator) -> Pixels:
    """Tinted, sometimes grey, sometimes as a poor camera shows it; as it is where nothing is to be augmentation."""
    if augmentation.color_jitter == 0 and augmentation.poor == 0:
        return picture
    shown = picture.astype(np.float32)
    if rng.random() < 0.1:
        shown = np.repeat(shown.mean(2, keepdims=True), 3, 2)
    shown = shown * rng.uniform(1 - augmentation.color_jitter, 1 + augmentation.color_jitter, 3).astype(np.float32)
    shown = (shown - 128) * np.float32(rng.uniform(0.7, 1.25)) + 128 + np.float32(rng.uniform(-25, 25))
    if rng.random() < augmentation.poor:
        shown = cv2.GaussianBlur(shown, (0, 0), rng.uniform(0.3, 1.3))
        shown = shown + rng.normal(0, rng.uniform(1, 8), shown.shape).astype(np.float32)
    made = np.clip(shown, 0, 255).astype(np.uint8)
    if rng.random() < augmentation.poor / 2:
        _, code = cv2.imencode(".jpg", made, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])
        made = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return made
