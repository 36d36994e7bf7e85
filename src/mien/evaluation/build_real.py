"""A benchmark from a folder of real portraits and real driving videos that no weights of ours were trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import InputError
from mien.evaluation.benchmark import PROTOCOLS, Benchmark, Medium, Pair, self_pair
from mien.evaluation.build_options import BuildOptions

# The same person in both, where the index says nothing of it: no cross-identity pair.
_SAME_PERSON = {("p14_photo_man_open_mouth", "d08_man_grey_hoodie")}


@dataclass(frozen=True)
class _Portrait:
    id: str
    path: Path


@dataclass(frozen=True)
class _Clip:
    id: str
    path: Path
    frames: int
    rate: Fraction


def build_real(data: Path, options: BuildOptions) -> Benchmark:
    """Every driving video in turn on every portrait in turn, both in an order drawn from the seed.

    The clips of clips/ are not taken: shipped weights have learned from motion measured in them.

    Args:
        data: a folder with real/index.json, whose portraits and driving videos are kept for tests.
        options: what the benchmark is to hold.

    Raises:
        InputError: if there is no such folder or its clips are short.
    """
    index = _index(data / "real")
    portraits = [
        _Portrait(str(entry["id"]), data / "real" / entry["file"])
        for entry in index["portraits"]
        if entry.get("mediapipe_face", True)
    ]
    span = (options.frames - 1) * options.step + 1
    clips = [clip for clip in _clips(data / "real", index["driving"]) if clip.frames >= span]
    if len(portraits) < 2 or len(clips) < 2:
        raise InputError(f"{data} has less than two clips of {span} frames: ask for fewer --frames or a smaller --step")
    rng = np.random.default_rng(options.seed)
    clips = [clips[number] for number in rng.permutation(len(clips))]
    waiting: list[_Portrait] = []
    pairs: list[Pair] = []
    for number in range(options.pairs):
        clip, again = clips[number % len(clips)], number // len(clips)
        medium = _medium(clip, options, again)
        portrait = _next_portrait(waiting, portraits, clip, rng)
        other = clips[(number + 1 + int(rng.integers(len(clips) - 1))) % len(clips)]
        source, rate, tags = Medium(portrait.path), clip.rate, ("real",)
        expression = _medium(other, options, again)
        apart = _name("apart", portrait.id, clip.id, other.id, again=again)
        if again == 0:
            pairs.append(self_pair(_name("self", clip.id, again=0), medium, rate, tags))
        pairs += [
            Pair(_name("cross", portrait.id, clip.id, again=again), "cross", source, medium, rate=rate, tags=tags),
            Pair(apart, "disentangled", source, medium, expression, rate=rate, tags=tags),
        ]
    return Benchmark("real", options.side, in_order(pairs, options.protocols))


def _next_portrait(
    waiting: list[_Portrait], portraits: list[_Portrait], clip: _Clip, rng: np.random.Generator
) -> _Portrait:
    """The next whose turn it is and who is not the driving video's own; when all have had theirs, all wait again."""
    if all((portrait.id, clip.id) in _SAME_PERSON for portrait in waiting):
        waiting += [portraits[number] for number in rng.permutation(len(portraits))]
    turn = next(n for n, portrait in enumerate(waiting) if (portrait.id, clip.id) not in _SAME_PERSON)
    return waiting.pop(turn)


def in_order(pairs: list[Pair], protocols: tuple[str, ...]) -> tuple[Pair, ...]:
    """The pairs of the wanted protocols, protocol by protocol."""
    return tuple(pair for protocol in PROTOCOLS if protocol in protocols for pair in pairs if pair.protocol == protocol)


def _name(*parts: str, again: int) -> str:
    return "-".join([part.split("_")[0] for part in parts] + ([str(again)] if again else []))


def _medium(clip: _Clip, options: BuildOptions, again: int) -> Medium:
    """A stretch from the middle; when a clip comes again, from elsewhere in it."""
    room = clip.frames - ((options.frames - 1) * options.step + 1)
    share = (0.5, 0.0, 1.0)[again] if again < 3 else 1 / again
    return Medium(clip.path, int(room * share), options.frames, options.step)


def _clips(folder: Path, entries: list[dict[str, Any]]) -> list[_Clip]:
    return [
        _Clip(str(e["id"]), folder / e["file"], int(e["frames"]), Fraction(str(e["fps"])).limit_denominator(1001))
        for e in entries
        if e.get("mediapipe_face_fraction", 1) == 1
    ]


def _index(folder: Path) -> dict[str, Any]:
    path = folder / "index.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a folder with real/index.json") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no index of portraits and clips, see docs/evaluate.md")
    return content
