"""Benchmark files: which portrait is to be driven by which clip, and what the ground truth is.

A benchmark is a JSON file; paths are relative to it:

    {"format": "mien-benchmark/1", "name": "real", "side": 256,
     "pairs": [
       {"id": "self-d03", "protocol": "self", "driver": {"path": "d03.mp4", "frames": 24}},
       {"id": "p01-d03", "protocol": "cross", "source": {"path": "p01.jpg"}, "driver": {"path": "d03.mp4"}},
       {"id": "p01-d03-d11", "protocol": "disentangled", "source": {"path": "p01.jpg"},
        "driver": {"path": "d11.mp4"}, "expression": {"path": "d03.mp4"}}]}

- "self": the driving video's first frame is the reference, the rest is the ground truth (X-Portrait, Section 4.2).
- "cross": somebody else drives. "ground_truth" may name pictures of the source in the driving motion, where there are
  such. (Files of the first release call it "truth", which is read for one more.)
- "disentangled": head pose from "driver", expression from "expression" (DeX-Portrait, Table 1).

A medium is a video, a picture, a folder of pictures, or a NumPy array [rows, frames, h, w, 3] uint8 of rendered people.
"first", "frames" and "step" choose frames; "row" a person of an array; "crop" [x, y, size] a square, without it the
largest one in the middle. "rate" of a pair is in frames per second, "25" if not given.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

from mien.errors import InputError
from mien.media.files import json_bytes, readable_file, whole_file

FORMAT = "mien-benchmark/1"
PROTOCOLS = ("self", "cross", "disentangled")
Protocol = Literal["self", "cross", "disentangled"]
SIDES = (64, 2048)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}")
_MEDIUM_KEYS = {"path", "first", "frames", "step", "row", "crop"}
_PAIR_KEYS = {"id", "protocol", "source", "driver", "expression", "ground_truth", "rate", "tags"}
_OLD_KEYS = {"truth": "ground_truth"}  # what the first release wrote


@dataclass(frozen=True)
class Medium:
    """Frames of a file.

    Attributes:
        path: a video, a picture, a folder of pictures or an array.
        first: number of the first frame.
        frames: how many, None for all there are.
        step: from one frame to the next.
        row: number of the person in an array.
        crop: x, y and size of a square, pixels; None: the largest one in the middle.
    """

    path: Path
    first: int = 0
    frames: int | None = None
    step: int = 1
    row: int | None = None
    crop: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Pair:
    """One clip to make.

    Attributes:
        id: name of its files.
        protocol: see the module.
        source: the portrait; in "self" a frame of the driving video.
        driver: of whom the head pose comes.
        expression: of whom the expression comes, in "disentangled" alone.
        ground_truth: in "self" the driving video itself, else None where there is none.
        rate: frames a second.
        tags: words that its maker wants to find again in reports.
    """

    id: str
    protocol: Protocol
    source: Medium
    driver: Medium
    expression: Medium | None = None
    ground_truth: Medium | None = None
    rate: Fraction = Fraction(25)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """A list of clips to make.

    Attributes:
        name: of the list.
        side: of the squares that systems are given and return, pixels.
        pairs: the clips.
    """

    name: str
    side: int
    pairs: tuple[Pair, ...]


def self_pair(name: str, driver: Medium, rate: Fraction = Fraction(25), tags: tuple[str, ...] = ()) -> Pair:
    """A clip that drives its own first frame."""
    source = Medium(driver.path, driver.first, 1, 1, driver.row, driver.crop)
    return Pair(name, "self", source, driver, ground_truth=driver, rate=rate, tags=tags)


def read_benchmark(path: Path) -> Benchmark:
    """Read and check a benchmark file.

    Raises:
        InputError: that names what is wrong in it.
    """
    readable_file(path, "benchmark file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no JSON file ({error}): make one with mien evaluate build") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f'{path} is no benchmark: its "format" must be {FORMAT}; make one with mien evaluate build')
    listed = content.get("pairs")
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{path} lists no pairs: make it again with mien evaluate build")
    pairs = tuple(_pair(path, number, entry) for number, entry in enumerate(listed))
    names = [pair.id for pair in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} has two pairs with the id {name}: give each its own")
    side = content.get("side", 256)
    return Benchmark(str(content.get("name", path.stem)), check_side(side, f"{path}: side"), pairs)


def check_side(side: object, what: str) -> int:
    """The side as a whole number that networks can take; InputError otherwise."""
    low, high = SIDES
    if not isinstance(side, int) or isinstance(side, bool) or not low <= side <= high or side % 8:
        raise InputError(f"{what} is {side}, but it must be a multiple of 8 from {low} to {high}, such as 256 or 512")
    return side


def write_benchmark(path: Path, benchmark: Benchmark) -> Path:
    """Write it with paths relative to the file. Returns the path."""
    folder = path.resolve().parent
    content = {
        "format": FORMAT,
        "name": benchmark.name,
        "side": benchmark.side,
        "pairs": [pair_content(pair, folder) for pair in benchmark.pairs],
    }
    with whole_file(path) as temporary:
        temporary.write_bytes(json_bytes(content, indent=1))
    return path


def pair_content(pair: Pair, folder: Path) -> dict[str, Any]:
    """A pair as in the file, with paths relative to `folder`."""
    content: dict[str, Any] = {"id": pair.id, "protocol": pair.protocol}
    for name in ("source", "driver", "expression", "ground_truth"):
        medium = getattr(pair, name)
        if medium is not None and not (pair.protocol == "self" and name in ("source", "ground_truth")):
            content[name] = _medium_content(medium, folder)
    content["rate"] = str(pair.rate)
    if pair.tags:
        content["tags"] = list(pair.tags)
    return content


def _medium_content(medium: Medium, folder: Path) -> dict[str, Any]:
    relative = os.path.relpath(medium.path.resolve(), folder)
    content: dict[str, Any] = {"path": Path(relative).as_posix()}
    plain = Medium(medium.path)
    for name in ("first", "frames", "step", "row", "crop"):
        value = getattr(medium, name)
        if value != getattr(plain, name):
            content[name] = list(value) if isinstance(value, tuple) else value
    return content


def _pair(path: Path, number: int, entry: object) -> Pair:
    where = f"{path}, pair {number}"
    if isinstance(entry, dict) and "ground_truth" not in entry:
        entry = {_OLD_KEYS.get(key, key): value for key, value in entry.items()}
    if not isinstance(entry, dict) or not {"id", "protocol", "driver"} <= entry.keys() <= _PAIR_KEYS:
        raise InputError(f"{where} must have id, protocol and driver, and nothing but {', '.join(sorted(_PAIR_KEYS))}")
    name, protocol = entry["id"], entry["protocol"]
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise InputError(f"{where}: the id {name!r} must be a file name of letters, digits and _ . + -")
    if protocol not in PROTOCOLS:
        raise InputError(f"{where} ({name}): the protocol {protocol!r} must be one of {', '.join(PROTOCOLS)}")
    where = f"{where} ({name})"
    driver = _medium(path, where, "driver", entry["driver"])
    rate = _rate(where, entry.get("rate", "25"))
    tags = tuple(str(tag) for tag in entry.get("tags", ()))
    if protocol == "self":
        return self_pair(name, driver, rate, tags)
    if "source" not in entry:
        raise InputError(f"{where} has no source: name the portrait that is to be driven")
    if (protocol == "disentangled") != ("expression" in entry):
        raise InputError(f"{where}: an expression clip belongs to disentangled pairs, and to each of them")
    media = {
        key: _medium(path, where, key, entry[key]) if key in entry else None
        for key in ("source", "expression", "ground_truth")
    }
    source = cast(Medium, media["source"])
    kind = cast(Protocol, protocol)
    return Pair(name, kind, source, driver, media["expression"], media["ground_truth"], rate, tags)


def _rate(where: str, text: object) -> Fraction:
    try:
        rate = Fraction(str(text))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{where}: the rate {text!r} must be a number such as 25 or 30000/1001") from error
    if not 0 < rate <= 1000:
        raise InputError(f"{where}: the rate {text!r} must be above 0 and at most 1000")
    return rate


def _medium(path: Path, where: str, name: str, entry: object) -> Medium:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry.keys() <= _MEDIUM_KEYS:
        raise InputError(f"{where}: {name} must be an object with a path, and maybe first, frames, step, row and crop")
    whole: Mapping[str, int] = {"first": 0, "frames": 1, "step": 1, "row": 0}
    for key, least in whole.items():
        value = entry.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{where}: {key} of {name} is {value!r}, but it must be a whole number from {least} up")
    crop = entry.get("crop")
    square = None
    if crop is not None:
        if not isinstance(crop, list) or len(crop) != 3 or not all(isinstance(v, (int, float)) for v in crop):
            raise InputError(f"{where}: crop of {name} must be [x, y, size] in pixels")
        if crop[2] < 8:
            raise InputError(f"{where}: crop of {name} is {crop[2]} pixels wide, too few to show a face")
        square = (float(crop[0]), float(crop[1]), float(crop[2]))
    file = path.parent / entry["path"]
    return Medium(file, entry.get("first", 0), entry.get("frames"), entry.get("step", 1), entry.get("row"), square)
