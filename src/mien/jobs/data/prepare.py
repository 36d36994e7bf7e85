"""Real videos made ready for training: `mien data prepare`.

X-Portrait, Section 4.1: clips of one person, cropped by one square that stays for the whole clip and shows the
shoulders. A video is read twice, frame by frame: first for its cuts and faces, then for the pictures; nothing holds a
whole video. What is unusable is named with its reason.

Written for a video NAME (see `video_layout`): NAME_000.mp4, ... (side x side pixels, the video's rate), NAME_000.npz,
... and, last, NAME.json with the clips and what was left out. An npz holds landmarks [t, 68, 2] (pixels of the clip),
head_pose [t, 6] (rotation vector, translation, scale of `HeadPose`), pupils [t, 2, 2], neutral [t, 70, 2] (where
landmarks and pupils would be without expression, see `neutral_keypoints`), pose [t, 3] (yaw, pitch, roll, degrees),
expression [t, 52], expression_names [52], seen [t] (False where the face was filled in, not read) and crop [3] (x, y,
size in the video).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES, FaceReader, FaceReading, FaceTracker, TrackedFace, load_face_reader
from mien.faces.backends import check_reader_name
from mien.faces.reading import box_overlap
from mien.geometry import HeadPose, SquareCrop
from mien.jobs.data.neutral_keypoints import middles_of_eyes, neutral_keypoints
from mien.jobs.data.options import PrepareOptions
from mien.jobs.data.video_layout import find_videos
from mien.jobs.run.progress import Progress
from mien.jobs.run.workers import Outcome, spread, work_in
from mien.media import VideoWriter, open_clip
from mien.media.files import unreadable, whole_file

_THUMBNAIL = 48  # pixels a side of the pictures that are compared
_SHARP_SIDE = 128  # pixels a side of the face whose sharpness is measured
_LOOKED_AT = 8  # frames of a clip that are looked at for its background and for other faces


@dataclass
class Shot:
    """Successive frames of one face: the first frame's number and a reading for each."""

    first: int
    faces: list[TrackedFace] = field(default_factory=list)

    @property
    def last(self) -> int:
        """One past the last frame."""
        return self.first + len(self.faces)

    def readings(self) -> list[FaceReading]:
        """The faces; all are there."""
        return [face.reading for face in self.faces if face.reading is not None]


class _Left(Exception):
    """A clip will not do; the text says why."""


def prepare_videos(options: PrepareOptions, progress: Progress) -> Outcome:
    """Prepare a video, or every video of a folder, see `find_videos`. Videos that were done before are left alone.

    Args:
        options: see `PrepareOptions`.
        progress: told how many videos are through.

    Returns:
        Which gave clips, and why others gave none.

    Raises:
        InputError: there is no video, or the reader is not known.
    """
    check_reader_name(options.reader)
    try:
        videos = _videos(options, progress)
    except OSError as error:
        raise unreadable(options.videos, error) from error
    outcome, todo = Outcome(), []
    with work_in(options.out):
        for name, file in videos.items():
            done = options.out / f"{name}.json"
            if done.is_file():
                _enter(outcome, name, json.loads(done.read_text(encoding="utf-8")))
            else:
                todo.append((name, (name, file, options)))
        spread(_prepare_one, todo, options.workers, "videos", outcome, progress, options.cluster)
    return outcome


def _enter(outcome: Outcome, name: str, summary: dict[str, Any]) -> None:
    if summary["failed"] is None:
        outcome.kept.append(name)
    else:
        outcome.failed[name] = summary["failed"]


def _videos(options: PrepareOptions, progress: Progress) -> dict[str, Path]:
    """What is to be prepared, by name."""
    place = options.videos
    found = find_videos(place, options.out)
    if place.is_file():
        return found
    for name in sorted(set(options.leave_out) - set(found)):
        progress.note(f"--leave-out {name}: {place} has no video of that name (without its suffix)")
    barred = {*options.leave_out, *_not_for_training(place / "index.json")}
    return {name: path for name, path in found.items() if name not in barred}


def _not_for_training(index: Path) -> set[str]:
    """Names of the videos of which an index says that they may not be learned from."""
    if not index.is_file():
        return set()
    try:
        entries = json.loads(index.read_text(encoding="utf-8")).get("clips", [])
        return {Path(entry["file"]).stem for entry in entries if entry.get("train_ok") is False}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{index} cannot be read ({error}): give clips with file and train_ok, or remove it"
        ) from error


def _prepare_one(name: str, file: Path, options: PrepareOptions) -> str | None:
    """In a worker: one video; returns why nothing of it will do, None if something does."""
    clips: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    try:
        reader = load_face_reader(options.reader)
        try:
            shots = find_shots(file, reader, options)
            _write_clips(name, file, shots, reader, options, clips, left)
        finally:
            reader.close()
        failed = None if clips else (left[0]["reason"] if left else "it shows no face for long enough")
    except InputError as error:
        failed = str(error)
    summary = {"video": str(file), "clips": clips, "left_out": left, "failed": failed}
    with whole_file(options.out / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return failed


def find_shots(file: Path, reader: FaceReader, options: PrepareOptions) -> list[Shot]:
    """First reading: where one face is seen without a cut, staying about where it is (as FOMM's preparation does).

    Args:
        file: a video, or a folder of frames.
        reader: of faces.
        options: what a clip must be.

    Returns:
        Stretches of frames with their readings.
    """
    shots: list[Shot] = []
    tracker, before, begin = FaceTracker(reader), None, 0
    for number, frame in enumerate(open_clip(file, fps=options.fps)):
        small = _thumbnail(frame)
        if before is not None and float(np.abs(small - before).mean()) > options.cut:
            _add(shots, begin, tracker.finish(), options)
            tracker, begin = FaceTracker(reader), number
        _add(shots, begin, tracker.push(frame), options)
        before = small
    _add(shots, begin, tracker.finish(), options)
    return shots


def _add(shots: list[Shot], begin: int, settled: list[TrackedFace], options: PrepareOptions) -> None:
    """Append faces, whose numbers count from frame `begin`, to the last shot or to a new one."""
    for face in settled:
        number = begin + face.index
        if face.reading is None or face.state == "held":
            continue
        shot = shots[-1] if shots else None
        goes_on = shot is not None and shot.last == number and number > begin and len(shot.faces) < options.frames[1]
        if shot is None or not goes_on:
            shots.append(Shot(number, [face]))
            continue
        first = shot.faces[0].reading
        if first is not None and box_overlap(first.box, face.reading.box) < options.overlap:
            shots.append(Shot(number, [face]))
        else:
            shot.faces.append(face)


def _thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.resize(frame, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)


def _write_clips(
    video: str,
    file: Path,
    shots: list[Shot],
    reader: FaceReader,
    options: PrepareOptions,
    clips: list[dict[str, Any]],
    left: list[dict[str, Any]],
) -> None:
    """Second reading: cut out the pictures; fills clips and left."""
    frames = enumerate(open_clip(file, fps=options.fps))
    for shot in shots:
        entry: dict[str, Any] = {"frames": [shot.first, shot.last]}
        try:
            crop = _judged_crop(shot, options)
            name = f"{video}_{len(clips):03d}"
            _write_clip(file, options.out / name, shot, crop, frames, reader, options)
        except _Left as reason:
            left.append({**entry, "reason": str(reason)})
            continue
        clips.append({**entry, "clip": f"{name}.mp4"})


def _judged_crop(shot: Shot, options: PrepareOptions) -> SquareCrop:
    """The square for a whole shot. _Left if its readings alone show that it will not do."""
    readings = shot.readings()
    if len(readings) < options.frames[0]:
        raise _Left(f"only {len(readings)} frames, fewer than {options.frames[0]}")
    seen = sum(face.state == "found" for face in shot.faces) / len(readings)
    if seen < options.seen:
        raise _Left(f"the face is seen in {100 * seen:.0f} % of the frames only")
    boxes = np.stack([reading.box for reading in readings])
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    if height < options.face:
        raise _Left(f"the face is {height:.0f} pixels high, less than {options.face:.0f}")
    points = np.stack([reading.landmarks for reading in readings])
    movement = float(np.abs(points - points.mean(0)).mean()) / height
    if movement < options.still:
        raise _Left(f"nothing moves ({movement:.4f} of the face)")
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    size = options.scale * float(np.median(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])))
    size = max(size, 1.3 * float((high - low).max()))
    middle = (low + high) / 2
    return SquareCrop(float(middle[0]) - size / 2, float(middle[1]) - 0.46 * size, size)


def _write_clip(
    file: Path,
    place: Path,
    shot: Shot,
    crop: SquareCrop,
    frames: Iterator[tuple[int, NDArray[np.uint8]]],
    reader: FaceReader,
    options: PrepareOptions,
) -> None:
    """Write place.mp4 and place.npz. _Left, with nothing written, if the pictures will not do."""
    info = open_clip(file, fps=options.fps).info
    crop = _inside(crop, info.width, info.height)
    looked_at = set(np.linspace(shot.first, shot.last - 1, _LOOKED_AT).astype(int).tolist())
    samples: list[NDArray[np.uint8]] = []
    with ExitStack() as stack:
        video = stack.enter_context(
            VideoWriter(place.with_suffix(".mp4"), rate=info.rate, size=(options.side, options.side), timestamps=False)
        )
        for number, frame in frames:
            if number < shot.first:
                continue
            picture = crop.extract(frame, options.side)
            video.write(picture)
            if number in looked_at:
                samples.append(picture)
            if number == shot.last - 1:
                break
        _judge_pictures(samples, shot, crop, reader, options)
    _write_numbers(place.with_suffix(".npz"), shot, crop, options.side)


def _inside(crop: SquareCrop, width: int, height: int) -> SquareCrop:
    """The square moved, and if need be shrunk a little, into the picture. _Left if too much of it lies outside."""
    size = min(crop.size, float(min(width, height)))
    if size < 0.7 * crop.size:
        raise _Left("the head fills the picture: no room for the shoulders")
    x = float(np.clip(crop.x + (crop.size - size) / 2, 0, width - size))
    y = float(np.clip(crop.y + (crop.size - size) / 2, 0, height - size))
    return SquareCrop(x, y, size)


def _judge_pictures(
    samples: list[NDArray[np.uint8]], shot: Shot, crop: SquareCrop, reader: FaceReader, options: PrepareOptions
) -> None:
    points = np.stack([crop.points_in(reading.landmarks, options.side) for reading in shot.readings()])
    low = np.clip(points.min((0, 1)), 0, options.side - 2).astype(int)
    high = np.clip(points.max((0, 1)), low + 1, options.side).astype(int)
    sharpness = [_sharpness(sample[low[1] : high[1], low[0] : high[0]]) for sample in samples]
    if float(np.median(sharpness)) < options.sharp:
        raise _Left(f"blurred (sharpness {np.median(sharpness):.0f}, less than {options.sharp:.0f})")
    change = _background_change(samples, low / options.side, high / options.side)
    if change > options.background:
        raise _Left(f"the background changes ({change:.0f} of 255)")
    face = float(np.median(np.ptp(points[..., 1], axis=1)))
    for sample in (samples[0], samples[len(samples) // 2]):
        others = [found for found in reader.read_all(sample) if found.box[3] - found.box[1] > 0.4 * face]
        if len(others) > 1:
            raise _Left(f"{len(others)} faces in the picture")


def _sharpness(face: NDArray[np.uint8]) -> float:
    grey = cv2.cvtColor(cv2.resize(face, (_SHARP_SIDE, _SHARP_SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _background_change(samples: list[NDArray[np.uint8]], low: NDArray, high: NDArray) -> float:
    """Median difference to the first sample outside head and body: the upper half, beside the face."""
    small = np.stack([_thumbnail(sample) for sample in samples])
    y, x = (np.mgrid[0:_THUMBNAIL, 0:_THUMBNAIL] + 0.5) / _THUMBNAIL
    room = 0.35 * (high[0] - low[0])  # for hair and ears
    outside = ((x < low[0] - room) | (x > high[0] + room)) & (y < 0.55)
    if not outside.any() or len(samples) < 2:
        return 0.0
    return float(np.median(np.abs(small[1:] - small[0]).mean(3)[:, outside].mean(1)))


def _write_numbers(path: Path, shot: Shot, crop: SquareCrop, side: int) -> None:
    readings = shot.readings()
    landmarks = np.stack([crop.points_in(reading.landmarks, side) for reading in readings])
    poses = [HeadPose.from_landmarks(r.pose.rotation, p, side, side) for r, p in zip(readings, landmarks, strict=True)]
    pupils = [
        middles_of_eyes(p) if r.pupils is None else crop.points_in(r.pupils, side)
        for r, p in zip(readings, landmarks, strict=True)
    ]
    neutral = neutral_keypoints(list(landmarks), poses, [reading.expression for reading in readings], side)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            landmarks=landmarks.astype(np.float32),
            pupils=np.stack(pupils).astype(np.float32),
            neutral=neutral,
            head_pose=np.array([[*pose.rotation, *pose.translation, pose.scale] for pose in poses], np.float32),
            pose=np.array([[pose.yaw, pose.pitch, pose.roll] for pose in poses], np.float32),
            expression=np.stack([reading.expression for reading in readings]).astype(np.float32),
            expression_names=np.array(EXPRESSION_NAMES),
            seen=np.array([face.state == "found" for face in shot.faces]),
            crop=np.array([crop.x, crop.y, crop.size], np.float32),
        )
