"""People from photographs on disk: one small file each, with the photo, its landmarks and the fit; and why some fail.

Textures and grids are made anew when a file is loaded (half a second): nothing is stored twice, and files are small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import HeadMotion, Placement
from mien.avatars.detector import Detector, Face
from mien.avatars.files import open_tensors, write_tensors
from mien.avatars.fitting import Fit, fit_face
from mien.avatars.head_model import HeadModel
from mien.avatars.photo import PhotoAvatar
from mien.errors import InputError

FORMAT = "mien avatar 1"
SUFFIX = ".safetensors"
# Where the portraits of artflow.ai carry their mark, in pixels of their 256: never to be learned.
_MARK_SIDE, _MARK_LEFT, _MARK_TOP = 256, 184, 235
_JPEG_QUALITY = 95
_TURN = 12.0  # degrees either way by which an avatar's pose response is measured
_SHARP_SIDE = 128  # pixels a side of the face whose sharpness is measured


@dataclass(frozen=True)
class CastRules:
    """What a photograph must be, and what its avatar must do, to be taken.

    Attributes:
        margin: the square around the face over its extent.
        height: least of the face, pixels of the picture.
        sharp: least variance of the Laplacian over the face at 128 px (portraits: 58 and more; blurred by 1/25 of the
            face: 2 to 6).
        crowd: most height of another face, of the height of the largest.
        yaw: most degrees either way in the photo.
        fit: most mean error, % of the eye distance.
        open_mouth: most jawOpen.
        jaw: least response of the detector to a commanded 0.8.
        blink: least response of the detector to a commanded 1.
        turn: least response of the detector to commanded 12 degrees, degrees.
        jaw_target: the response that the jaw's gain aims at.
        jaw_gain: the jaw's largest gain.
        depth_gain: the largest gain of the face's depth, by which a head that turns too little is corrected.
    """

    margin: float = 1.8
    height: float = 80.0
    sharp: float = 20.0
    crowd: float = 0.5
    yaw: float = 15.0
    fit: float = 4.0
    open_mouth: float = 0.25
    jaw: float = 0.4
    blink: float = 0.15
    turn: float = 5.0
    jaw_target: float = 0.65
    jaw_gain: float = 1.3
    depth_gain: float = 1.25


@dataclass(frozen=True, eq=False)
class Member:
    """One person.

    Attributes:
        id: the file's name without its suffix.
        photo: uint8 [s, s, 3].
        face: read in the photo.
        fit: of the head model to the face.
        jaw_gain: see `PhotoAvatar`.
        depth_gain: see `PhotoAvatar`.
        details: where the photo is from and what the checks measured, JSON.
    """

    id: str
    photo: NDArray[np.uint8]
    face: Face
    fit: Fit
    jaw_gain: float = 1.0
    depth_gain: float = 1.0
    details: Mapping[str, Any] = field(default_factory=dict)

    def avatar(self, model: HeadModel, atlas: int = 1024) -> PhotoAvatar:
        """The person, ready to be rendered.

        Args:
            model: of the head.
            atlas: side of the texture, texels: 1024 for photos of 512 px, 512 for 256.
        """
        return PhotoAvatar(model, self.photo, self.face, self.fit, self.jaw_gain, self.depth_gain, atlas)


def remove_mark(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A portrait of artflow.ai without the mark at its lower right, filled from around it.

    Args:
        image: uint8 [h, w, 3].
    """
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    mask[height * _MARK_TOP // _MARK_SIDE :, width * _MARK_LEFT // _MARK_SIDE :] = 1
    return np.asarray(cv2.inpaint(image, mask, 4, cv2.INPAINT_TELEA), np.uint8)


def make_member(
    model: HeadModel,
    detector: Detector,
    image: NDArray[np.uint8],
    identity: str,
    details: Mapping[str, Any] | None = None,
    rules: CastRules | None = None,
) -> Member:
    """Fit, bake and check a person.

    Args:
        model: of the head.
        detector: of faces.
        image: uint8 [h, w, 3].
        identity: name of the person.
        details: what is known of the photograph.
        rules: which must hold, None for the defaults.

    Raises:
        InputError: with the reason if the photograph or the avatar will not do.
    """
    rules = rules or CastRules()
    photo = _decoded(_encoded(_portrait(detector, image, rules)))  # what will be loaded is what is fitted and checked
    face = detector.read(photo)
    if face is None:
        raise InputError("the face was lost in the square around it")
    yaw = face.angles()[0]
    if abs(yaw) > rules.yaw:
        raise InputError(f"the head is turned by {yaw:.0f} degrees; at most {rules.yaw:.0f} look right")
    fit = fit_face(model, face, photo.shape[0])
    if float(fit.errors.mean()) > rules.fit:
        raise InputError(f"the head model does not fit: {fit.errors.mean():.1f} % of the eye distance")
    opened = float(fit.expression[model.index("jawOpen")])
    if opened > rules.open_mouth:
        raise InputError(f"the mouth is open ({opened:.2f}): what is behind the lips would be baked in")
    # Amplitudes differ from person to person; the first look says by how much, the second one judges.
    answers = detector_answers(model, detector, PhotoAvatar(model, photo, face, fit))
    jaw = float(np.clip(rules.jaw_target / max(answers["jaw"], 0.05), 1.0, rules.jaw_gain))
    depth = float(np.clip(1 + (0.97 - answers["turn"] / _TURN) / 0.65, 1.0, rules.depth_gain))
    answers = detector_answers(model, detector, PhotoAvatar(model, photo, face, fit, jaw, depth))
    _judge(answers, rules)
    found = {
        "fit_error_pct_eye_distance": round(float(fit.errors.mean()), 2),
        "fit_error_median": round(float(np.median(fit.errors)), 2),
        "pose_detector": [round(a, 1) for a in face.angles()],
        "pose_fit": [round(a, 1) for a in fit.placement.angles()],
        "responses": answers,
        "jaw_gain": round(jaw, 3),
        "depth_gain": round(depth, 3),
    }
    return Member(identity, photo, face, fit, jaw, depth, {**(details or {}), **found})


def _portrait(detector: Detector, image: NDArray[np.uint8], rules: CastRules) -> NDArray[np.uint8]:
    """The square [512, 512, 3] around the one face of a picture. InputError if there is none, or not a good one."""
    enlarged = 1.0
    if min(image.shape[:2]) < 400:  # what is small is enlarged first: landmarks are surer then
        enlarged = 512 / min(image.shape[:2])
        size = [max(round(length * enlarged), 1) for length in image.shape[1::-1]]
        if max(size) > 8 * 512:
            raise InputError(f"the picture is {image.shape[1]} x {image.shape[0]} pixels, too narrow for a face")
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    photo, face, zoom = detector.crop(image, 512, rules.margin)
    height = float(np.ptp(face.points[:, 1])) / (zoom * enlarged)
    if height < rules.height:
        raise InputError(f"the face is {height:.0f} pixels high, less than {rules.height:.0f}: use a larger picture")
    low, high = (np.clip(bound, 0, 511).astype(int) for bound in (face.points.min(0), face.points.max(0) + 1))
    small = cv2.resize(photo[low[1] : high[1], low[0] : high[0]], (_SHARP_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    sharp = float(cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
    if sharp < rules.sharp:
        raise InputError(f"the face is blurred (sharpness {sharp:.0f}, less than {rules.sharp:.0f})")
    heights = detector.heights(image)
    several = sum(other > rules.crowd * heights[0] for other in heights)
    if several > 1:
        raise InputError(f"{several} faces in the picture: cut out the one that is meant")
    return photo


def detector_answers(model: HeadModel, detector: Detector, avatar: PhotoAvatar) -> dict[str, float]:
    """How the detector answers to an open jaw (0.8), closed eyes and a turn by 12 degrees, right minus left.

    Args:
        model: of the head.
        detector: of faces.
        avatar: of the person.

    Returns:
        "jaw" and "blink" as rises of the blendshape, "turn" in degrees.

    Raises:
        InputError: if it sees no face.
    """
    faces = []
    for amounts, yaw in (({}, 0.0), ({"jawOpen": 0.8}, 0.0), ({"eyeBlink": 1.0}, 0.0), ({}, _TURN), ({}, -_TURN)):
        view = avatar.render(model.coefficients(**amounts), HeadMotion(yaw), 384, 1)
        face = detector.read(view.image)
        if face is None:
            raise InputError(f"the detector sees no face in the avatar with {amounts or 'a turn'}")
        faces.append(face)
    neutral, opened, closed, right, left = faces

    def blink(face: Face) -> float:
        return (face.blendshape("eyeBlinkLeft") + face.blendshape("eyeBlinkRight")) / 2

    answers = {
        "jaw": opened.blendshape("jawOpen") - neutral.blendshape("jawOpen"),
        "blink": blink(closed) - blink(neutral),
        "turn": (right.angles()[0] - left.angles()[0]) / 2,
    }
    return {name: round(amount, 3) for name, amount in answers.items()}


def _judge(answers: Mapping[str, float], rules: CastRules) -> None:
    for name, amount in answers.items():
        least = getattr(rules, name)
        if amount < least:
            raise InputError(f"the avatar's {name} hardly shows: the detector answers {amount:.2f}, less than {least}")


def _encoded(photo: NDArray[np.uint8], quality: int = _JPEG_QUALITY) -> NDArray[np.uint8]:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return np.asarray(cv2.imencode(".jpg", photo[..., ::-1], options)[1], np.uint8).ravel()


def _decoded(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def member_tensors(member: Member, side: int | None = None, quality: int = _JPEG_QUALITY) -> dict[str, NDArray[Any]]:
    """A person as arrays.

    Args:
        member: the person.
        side: of the photo, pixels; None: as it is.
        quality: of the photo's JPEG, to 100.
    """
    photo, zoom = member.photo, 1.0
    if side is not None and side != photo.shape[0]:
        zoom = side / photo.shape[0]
        photo = np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    fit = member.fit
    return {
        "photo": _encoded(photo, quality),
        "points": (member.face.points * zoom).astype(np.float32),
        "blendshapes": member.face.blendshapes.astype(np.float32),
        "detected_rotation": member.face.rotation.astype(np.float32),
        "rotation": fit.placement.rotation.astype(np.float64),
        "offset": fit.placement.offset.astype(np.float64),
        "identity": fit.identity.astype(np.float32),
        "expression": fit.expression.astype(np.float32),
        "warp": fit.warp.astype(np.float16),
        "errors": fit.errors.astype(np.float16),
        "gains": np.array([member.jaw_gain, member.depth_gain], np.float32),
    }


def member_from(identity: str, tensors: Mapping[str, NDArray[Any]], details: Mapping[str, Any]) -> Member:
    """The inverse of `member_tensors`.

    Args:
        identity: name of the person.
        tensors: by name.
        details: see `Member`.

    Raises:
        KeyError: if an array is missing.
    """
    rotation = tensors["detected_rotation"].astype(np.float64)
    name = "scores" if "scores" in tensors else "blendshapes"  # the first release's name is read for one more
    face = Face(tensors["points"].astype(np.float64), tensors[name], rotation)
    warp, errors = tensors["warp"].astype(np.float32), tensors["errors"].astype(np.float32)
    placement = Placement(tensors["rotation"], tensors["offset"])
    fit = Fit(placement, tensors["identity"], tensors["expression"], warp, errors)
    jaw, depth = (float(gain) for gain in tensors["gains"])
    return Member(identity, _decoded(tensors["photo"]), face, fit, jaw, depth, dict(details))


def save_member(folder: Path, member: Member) -> Path:
    """Write a person as FOLDER/ID.safetensors."""
    metadata = {"format": FORMAT, "details": json.dumps(dict(member.details))}
    return write_tensors(folder / f"{member.id}{SUFFIX}", member_tensors(member), metadata)


def load_member(path: Path) -> Member:
    """Read a person.

    Raises:
        InputError: if the file is missing, damaged or something else.
    """
    with _opened(path) as (file, details):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return member_from(path.stem, tensors, details)


def load_details(path: Path) -> dict[str, Any]:
    """What is known of a person, without the pictures.

    Raises:
        InputError: if the file is missing, damaged or something else.
    """
    with _opened(path) as (_, details):
        return details


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    with open_tensors(path, FORMAT, "avatar", "mien data avatar") as (file, metadata):
        yield file, json.loads(metadata["details"])


def cast_files(folder: Path) -> list[Path]:
    """The people of a folder, sorted by name.

    Raises:
        InputError: if there are none.
    """
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not found:
        raise InputError(f"{folder} holds no avatars: make some with `mien data avatar PHOTOS {folder}`")
    return found
