"""Templates of `mien motion`: the motion of a clip as codes of DeX-Portrait's encoders.

A template is a safetensors file: `pose` [f, 6] and `expression` [f, e], float32; its metadata say which encoders made
them, at which rate, and from what.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mien.errors import InputError
from mien.media import ClipInfo
from mien.media.files import readable_file, readable_name, utf8_path, whole_file
from mien.models.dex_portrait import Motion
from mien.models.dex_portrait.pose import CODE
from mien.options import checked_rate, parse_rate
from mien.version import __version__

FORMAT = "mien.dex-motion"
VERSION = 1
SUFFIX = ".safetensors"
_LARGEST_CODE = 50.0  # poses are radians, half sides and a logarithm; expressions of trained encoders are below 10


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


def is_template(path: Path) -> bool:
    """Whether `path` is a template of `mien motion`; other .safetensors files are motion libraries or weights.

    Args:
        path: any file.

    Returns:
        Whether its header says so; nothing else of it is read.
    """
    if path.suffix.lower() != SUFFIX or not path.is_file():
        return False
    try:
        with utf8_path(path) as found, safe_open(found, "pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def save_template(template: MotionTemplate, source: str) -> None:
    """Write a template; the file appears whole or not at all.

    Args:
        template: codes, rate, and where to.
        source: the clip's name, for people.
    """
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
    """Read a template.

    Args:
        path: the file.
        encoder: the model's `encoder_id`, which must have made it.
        width: of the encoders' expression codes.

    Returns:
        Codes and rate.

    Raises:
        InputError: if it is damaged, or if other encoders made it.
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
