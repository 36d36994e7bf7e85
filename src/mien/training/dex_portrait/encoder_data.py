"""Batches for the supervised training of DeX-Portrait nano's encoders: pictures, exact poses, exact displacements.

Data: folders of groups (`mien.avatars.groups`). Where an expression is there under two poses (`mien data avatars
--paired`), the second view of a frame is the other pose; where a pose is there with two expressions, the pose encoder
is shown both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from mien.motion.inputs import TurnedCrop, masked_frame
from mien.motion.keypoint_motion import closed_lips
from mien.training.data.pictures import to_tensor
from mien.training.engine.stage import Batch
from mien.training.keypoint_basis import fit_basis, head_shapes

Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]

_RIDGE = 0.1
_SELDOM = 0.05  # scores that hardly ever vary count as if they did so much
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
        degrees: of the crops, either way.
        jitter: of a crop's place and size, a part of it, either way.
        color_jitter: of colours, a part of them.
        poor: chance of blur, noise and JPEG.
        other_view: whether a frame is also shown under another pose.
        other_person: chance that somebody else shows the expression there.
    """

    degrees: float = 15.0
    jitter: float = 0.08
    color_jitter: float = 0.15
    poor: float = 0.4
    other_view: bool = True
    other_person: float = 0.5

    @classmethod
    def none(cls) -> EncoderAugmentation:
        """Pictures as they are: the paper's ablation without augmentation."""
        return cls(0.0, 0.0, 0.0, 0.0, other_view=False, other_person=0.0)


class EncoderData:
    """Draws frames from groups of one or more folders.

    Attributes:
        spread: [e], how far each commanded score varies.
    """

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
        neutrals = _neutrals(shapes, [group["expression"] for group in found])
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
        spread = np.concatenate([group.scores for group in self.groups]).std(0)
        self.spread = torch.from_numpy(np.maximum(spread, _SELDOM).astype(np.float32))

    def draw(self, rng: np.random.Generator, batch_size: int, size: int, augmentation: EncoderAugmentation) -> Batch:
        """Frames of any people.

        Args:
            rng: of all that is random.
            batch_size: n.
            size: side of the crops, pixels.
            augmentation: of the crops.

        Returns:
            masked [n, 3, size, size] with the pose in the crop, pose [n, 6]; crop, again: two views of each expression,
            with moved, moved_again [n, 70, 3] and scores [n, e]. twins [k, 3, size, size]: of some samples, `twin_of`
            [k], the same person in the same pose and crop with another expression.
        """
        pictures: dict[str, list[Pixels]] = {name: [] for name in ("masked", "crop", "again", "twins")}
        numbers: dict[str, list[Floats | int]] = {
            name: [] for name in ("pose", "moved", "moved_again", "scores", "twin_of")
        }
        for row in range(batch_size):
            group = self.groups[int(rng.choice(len(self.groups), p=self._odds))]
            person, motion = int(rng.integers(len(group.frames))), int(rng.integers(len(group.other)))
            flip = bool(rng.random() < 0.5)
            shown = flipped(group.frames[person, motion], group.landmarks[person, motion], flip)
            crop = misplaced(TurnedCrop.upright(shown[1]), augmentation, rng)
            pictures["masked"].append(_coloured(_blanked(crop, *shown, size), augmentation, rng))
            code = _mirrored_code(group.codes[person, motion], flip)
            numbers["pose"].append(code_in_crop(code, crop.similarity(group.frames.shape[2])))
            twin = int(group.twin[motion])
            if twin >= 0 and augmentation.other_view:
                seen = flipped(group.frames[person, twin], group.landmarks[person, twin], flip)
                pictures["twins"].append(_coloured(_blanked(crop, *seen, size), augmentation, rng))
                numbers["twin_of"].append(row)
            pictures["crop"].append(augmented_crop(*shown, size, augmentation, rng))
            other = person
            if rng.random() < augmentation.other_person:
                other = int(rng.integers(len(group.frames)))
            view = int(group.other[motion]) if augmentation.other_view and group.other[motion] >= 0 else motion
            shown = flipped(group.frames[other, view], group.landmarks[other, view], flip)
            pictures["again"].append(augmented_crop(*shown, size, augmentation, rng))
            for name, moved in (("moved", group.moved[person, motion]), ("moved_again", group.moved[other, motion])):
                mirrored = moved[_KEYPOINT_MIRROR] * np.array([-1, 1, 1], np.float32)
                numbers[name].append(mirrored if flip else moved)
            scores = group.scores[motion]
            numbers["scores"].append(scores[group.mirrored] if flip else scores)
        return {
            **{name: to_tensor(column) for name, column in pictures.items() if column},
            **{name: torch.from_numpy(np.stack(rows).astype(np.float32)) for name, rows in numbers.items() if rows},
        }


def count_groups(folders: Sequence[Path]) -> int:
    """How many groups there are that have been written to their end.

    Args:
        folders: of groups.

    Returns:
        Their number in all folders together.
    """
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
    """For each motion another one that is the very same in something.

    Args:
        expression: what is compared of the motions [m, e]: expressions, or poses.

    Returns:
        [m], number of the other motion; -1: there is none.
    """
    same = (expression[:, None] == expression[None]).all(-1)
    np.fill_diagonal(same, False)
    return np.where(same.any(1), same.argmax(1), -1)


def _neutrals(shapes: Sequence[Floats], expressions: Sequence[Floats]) -> list[Floats]:
    """Every group's people's neutral heads [p, 70, 3], lips closed.

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
    return [neutral.astype(np.float32) for neutral in neutrals]


# -- pictures ----------------------------------------------------------------------------------------------------------


def flipped(picture: Pixels, marks: Floats, flip: bool) -> tuple[Pixels, Floats]:
    """A square picture with its landmarks in a mirror, or as they are.

    Args:
        picture: uint8 [s, s, 3].
        marks: [68, 2], pixels.
        flip: whether it is mirrored.

    Returns:
        The picture and its landmarks, those of the other side of the face in each other's place.
    """
    if not flip:
        return np.asarray(picture), marks
    return np.ascontiguousarray(picture[:, ::-1]), marks[MIRROR] * [-1, 1] + [picture.shape[1], 0]


def _mirrored_code(code: Floats, flip: bool) -> Floats:
    """A turn's vector keeps its part across the mirror and loses the sign of the others."""
    return code * [1, -1, -1, -1, 1, 1] if flip else code


def code_in_crop(code: Floats, similarity: Floats) -> Floats:
    """A head's pose code in an upright crop of its picture: what `Pose.placed` undoes.

    Args:
        code: [6], in the picture.
        similarity: see `TurnedCrop.similarity`.

    Returns:
        [6].
    """
    angle, half = float(similarity[0]), float(similarity[3])
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    vector = rotation_vector(back @ rotation_matrix(code[:3]))
    place = back[:2, :2] @ (code[3:5] - similarity[1:3]) / half
    return np.array([*vector, *place, code[5] - np.log(half)])


def misplaced(crop: TurnedCrop, augmentation: EncoderAugmentation, rng: np.random.Generator) -> TurnedCrop:
    """A crop as landmarks would place it that are not quite right.

    Args:
        crop: as exact landmarks place it.
        augmentation: how far off it may be.
        rng: of how far it is.

    Returns:
        Another crop of the same picture.
    """
    way = rng.uniform(-augmentation.jitter, augmentation.jitter, 2) * crop.half
    zoom = rng.uniform(1 - augmentation.jitter, 1 + augmentation.jitter)
    turn = np.deg2rad(rng.uniform(-augmentation.degrees, augmentation.degrees))
    return TurnedCrop(crop.middle + way, crop.half * zoom, crop.angle + turn)


def _blanked(crop: TurnedCrop, picture: Pixels, marks: Floats, size: int) -> Pixels:
    return masked_frame(crop.extract(picture, size), crop.points_in(marks, size))


def augmented_crop(
    picture: Pixels, marks: Floats, size: int, augmentation: EncoderAugmentation, rng: np.random.Generator
) -> Pixels:
    """The face as `TurnedCrop` cuts it from landmarks that are not quite right, in another light.

    Args:
        picture: uint8 [s, s, 3].
        marks: [68, 2], pixels.
        size: side of the result, pixels.
        augmentation: how much is changed.
        rng: of the change.

    Returns:
        uint8 [size, size, 3].
    """
    crop = misplaced(TurnedCrop.upright(marks), augmentation, rng)
    return _coloured(crop.extract(picture, size), augmentation, rng)


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
