"""Where a result comes from: a sentence in its metadata, an invisible mark in its pictures, and what reads both."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mien.errors import InputError
from mien.jobs.options import AnimateOptions
from mien.media import open_clip, write_image
from mien.media.files import readable_name
from mien.media.image import read_comment
from mien.media.kind import is_gif, kind_of
from mien.media.probe import read_tags
from mien.media.watermark import MOST_FRAMES, marked, read_mark
from mien.version import __version__

_SEEN = 1500  # frames of a video that are looked at, of which a few are read
_SENTENCE = "Synthetic: a portrait animated by software, not a recording."


@dataclass(frozen=True)
class Provenance:
    """What made a file: the system ("x" or "dex"), its model, and mien's version.

    options: the digest of what was asked for, the record's `request`: SHA-256 over options and content of every input.
    """

    system: str
    model: str
    version: str
    options: str

    @classmethod
    def of(cls, options: AnimateOptions, system: str, request: str) -> Provenance:
        """Of a run. A model's folder is named without the way to it, which is nobody's business.

        Args:
            options: of the run.
            system: of the model.
            request: the digest of what was asked for.

        Returns:
            What the file will say of itself.
        """
        model = options.model if not Path(options.model).is_dir() else Path(options.model).resolve().name
        return cls(system, readable_name(model), __version__, request)

    def comment(self) -> str:
        """For people first, then for programs."""
        return f"{_SENTENCE} {json.dumps({'made_by': 'mien', **asdict(self)})}"

    @classmethod
    def parse(cls, comment: str | None) -> Provenance | None:
        """Read what `comment` wrote.

        Args:
            comment: of a file; None: it has none.

        Returns:
            None for anything else.
        """
        _, brace, rest = (comment or "").partition("{")
        try:
            found = json.loads(brace + rest)
            if not isinstance(found, dict) or found.pop("made_by", None) != "mien":
                return None
            return cls(**{name: str(found[name]) for name in ("system", "model", "version", "options")})
        except (ValueError, KeyError, RecursionError):
            return None


@dataclass(frozen=True)
class ProvenanceReport:
    """What a file tells of itself.

    Attributes:
        path: the file.
        metadata: what was written into it; None: nothing of mien's.
        marked: whether the invisible mark was found.
        score: how clearly; 5 is enough where nothing was cut off the picture's edges, 7 elsewhere.
    """

    path: Path
    metadata: Provenance | None
    marked: bool
    score: float

    def describe(self) -> str:
        """A line each for metadata, options and mark."""
        found = self.metadata
        lines = ["metadata   none of mien's"]
        if found is not None:
            lines = [f"metadata   mien {found.version}, system {found.system}"]
            lines += [f"model      {found.model}", f"options    {found.options}"]
        lines.append(f"watermark  {'found' if self.marked else 'not found'} (score {self.score:.1f})")
        return "\n".join(lines)


def read_provenance(path: Path) -> ProvenanceReport:
    """Read metadata and mark of a video or an image.

    Args:
        path: the file.

    Returns:
        What it says of itself, and how surely the mark was found.

    Raises:
        InputError: if it cannot be read.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a video or an image")
    clip = open_clip(path)
    still = kind_of(path) in ("image", "animation") and not is_gif(path)
    comment = read_comment(path) if still else read_tags(path).get("comment")
    seen = min(clip.count(), _SEEN)
    step = max(1, seen // MOST_FRAMES)
    found, score = read_mark(frame for index, frame in enumerate(islice(clip, seen)) if index % step == 0)
    return ProvenanceReport(path, Provenance.parse(comment), found, score)


def write_signed_image(path: Path, frame: np.ndarray, provenance: Provenance, watermark: bool) -> Path:
    """Write a picture with its provenance.

    Args:
        path: where to.
        frame: uint8 [h, w, 3].
        provenance: what the file says of itself.
        watermark: whether the picture is marked as well.

    Returns:
        The path.
    """
    return write_image(path, marked(frame) if watermark else frame, provenance.comment())
