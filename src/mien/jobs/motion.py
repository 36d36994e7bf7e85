"""Motion of a clip as codes: reading it with DeX-Portrait's encoders, and the templates of `mien motion`.

A template is a safetensors file: `pose` [f, 6] and `expression` [f, e], float32; its metadata say which encoders made
them, at which rate, and from what.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mien.animation.driving import read_faces
from mien.errors import InputError, OutputError
from mien.faces import FaceReader, TrackReport, load_face_reader
from mien.geometry import driver_crop
from mien.jobs.models import load_dex_pipeline
from mien.jobs.options import checked_rate, parse_rate
from mien.jobs.run.outputs import checked_place
from mien.jobs.run.progress import Progress, Silent
from mien.media import Clip, ClipInfo, evened, open_clip
from mien.media.files import readable_file, readable_name, utf8_path, whole_file
from mien.models.dex_portrait import Motion
from mien.models.dex_portrait.driving import steadied
from mien.models.dex_portrait.pose import CODE
from mien.version import __version__

if TYPE_CHECKING:
    from mien.pipelines.dex_portrait import DeXPortraitPipeline

FORMAT = "mien.dex-motion"
VERSION = 1
_SUFFIX = ".safetensors"
_LARGEST_CODE = 50.0  # poses are radians, half sides and a logarithm; expressions of trained encoders are below 10
_LARGEST_SIDE = 512  # of the squares that the encoders' pictures are made from


@dataclass(frozen=True)
class MotionOptions:
    """What `mien motion` reads and writes. model, reader and device as in `AnimateOptions`; fps: of images."""

    clip: Path
    output: Path
    model: str = "nano"
    reader: str = "auto"
    reader_model: Path | None = None
    fps: Fraction | None = None
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class MotionTemplate:
    """A clip's codes, the id of the encoders that made them, and the clip's rate."""

    path: Path
    motion: Motion
    encoder: str
    rate: Fraction

    @property
    def info(self) -> ClipInfo:
        """What a clip of this motion would say of itself."""
        frames = len(self.motion)
        return ClipInfo(self.path, "video" if frames > 1 else "image", 0, 0, self.rate, frames, frames / self.rate)


@dataclass(frozen=True)
class MotionReport:
    """What was read and written."""

    output: Path
    frames: int
    faces: TrackReport
    encoder: str
    warnings: tuple[str, ...] = ()


def extract_motion(
    options: MotionOptions,
    progress: Progress | None = None,
    *,
    pipe: DeXPortraitPipeline | None = None,
    reader: FaceReader | None = None,
) -> MotionReport:
    """Write the motion of a clip as a template. Raises InputError, OutputError or WeightsError."""
    progress = progress or Silent()
    output = _output(options)
    with ExitStack() as stack:
        progress.stage("Loading", None)
        clip = evened(open_clip(options.clip, fps=options.fps))  # a template knows frames by number
        if pipe is None:
            pipe = load_dex_pipeline(options.model, options.device, options.dtype)
        if reader is None:
            reader = stack.enter_context(closing(load_face_reader(options.reader, options.reader_model)))
        motion, faces = read_clip_motion(clip, reader, pipe, progress)
    save_template(MotionTemplate(output, motion, pipe.encoder_id, clip.info.rate), options.clip.name)
    return MotionReport(output, len(motion), faces, pipe.encoder_id, tuple(clip.warnings))


def read_clip_motion(
    clip: Clip, reader: FaceReader, pipe: DeXPortraitPipeline, progress: Progress
) -> tuple[Motion, TrackReport]:
    """Codes of every frame: two passes, one for the faces, one for the encoders; only readings and codes are kept.

    The head is measured in one square for the whole clip. Frames whose face was not found have codes between those of
    their neighbours. Raises InputError if no frame shows a face.
    """
    faces, report = read_faces(clip, reader, progress)
    if report.found == 0:
        raise InputError(f"no face was found in any frame of {clip.info.path}: use a driver that shows one face")
    landmarks = [None if face.reading is None else face.reading.landmarks for face in faces]
    crop = driver_crop(landmarks, clip.info.width, clip.info.height, pipe.crop_scale)
    side = int(min(max(round(crop.size), pipe.pose_encoder.config.size), _LARGEST_SIDE))
    seen = [face.index for face in faces if face.state == "found"]

    def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for face, image in zip(faces, clip, strict=True):
            if face.state == "found" and face.reading is not None:
                yield crop.extract(image, side), crop.points_in(face.reading.landmarks, 1)

    progress.stage("Reading the driver's motion", len(seen))
    read = pipe.read_motion(frames(), progress=progress.reach)
    moments, known = np.arange(len(faces)), np.array(seen)
    pose, expression = (_between(moments, known, codes) for codes in (read.pose, read.expression))
    return steadied(Motion(pose, expression)), report


def _between(moments: np.ndarray, known: np.ndarray, codes: torch.Tensor) -> torch.Tensor:
    """Codes at all moments from those at the known ones: linear between them, held at both ends."""
    if len(known) == len(moments):
        return codes
    columns = [np.interp(moments, known, column) for column in codes.T.numpy()]
    return torch.from_numpy(np.stack(columns, 1).astype(np.float32))


# -- templates -----------------------------------------------------------------------------------------------------


def is_template(path: Path) -> bool:
    """Whether `path` is a template of `mien motion`; other .safetensors files are motion libraries or weights."""
    if path.suffix.lower() != _SUFFIX or not path.is_file():
        return False
    try:
        with utf8_path(path) as found, safe_open(found, "pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def save_template(template: MotionTemplate, source: str) -> None:
    """Write a template; the file appears whole or not at all. source: the clip's name, for people."""
    tensors = {"pose": template.motion.pose.contiguous(), "expression": template.motion.expression.contiguous()}
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "encoder": template.encoder,
        "rate": str(template.rate),
        "source": readable_name(source),
        "mien": __version__,
    }
    with whole_file(template.path) as temporary:
        save_file(tensors, temporary, metadata)


def load_template(path: Path, encoder: str, width: int) -> MotionTemplate:
    """Read a template; InputError if it is damaged, or if other encoders than `encoder` made it.

    width: of the encoders' expression codes.
    """
    readable_file(path, "motion template")
    try:
        with utf8_path(path) as found, safe_open(found, "pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
        template = MotionTemplate(
            path,
            Motion(tensors["pose"], tensors["expression"]),
            str(metadata.get("encoder")),
            checked_rate(parse_rate(metadata["rate"])),
        )
        if metadata["version"] != str(VERSION):
            raise ValueError(metadata["version"])
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, InputError) as error:
        raise InputError(f"{path} is no whole motion template: write it again with mien motion.") from error
    if template.encoder != encoder:
        raise InputError(
            f"{path} was made by other encoders ({template.encoder[:40]}) than this model's ({encoder}), whose codes"
            " mean something else: write it again with mien motion and this model."
        )
    for codes, length in ((template.motion.pose, CODE), (template.motion.expression, width)):
        # NaN is not smaller than anything
        if codes.shape != (len(codes), length) or not codes.abs().max() < _LARGEST_CODE:
            raise InputError(f"{path} holds no motion of a head: write it again with mien motion.")
    return template


def _output(options: MotionOptions) -> Path:
    output = checked_place(options.output)
    if output.is_dir():
        output = output / f"{options.clip.stem}{_SUFFIX}"
    if output.suffix.lower() != _SUFFIX:
        raise OutputError(f"{output} cannot be written: choose a name that ends in {_SUFFIX}.")
    return output
