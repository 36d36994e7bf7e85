"""Expressions that landmarks tell badly, commanded and read off the result.

    python benchmarks/expressions.py clips OUT CAST            two people, a steady head, one expression after another
    python benchmarks/expressions.py drive OUT PORTRAITS       `mien animate` for every portrait and clip (--limit N)
    python benchmarks/expressions.py score OUT                 one table: correlation per expression (resumes)

`clips` renders the driving videos from two avatars of the folder CAST who must be in no training set (`--people ID ID`)
and writes what was commanded beside them. `drive` needs nothing but the package. `score` reads the results with the
package's face reader: for every expression the correlation over its stretch of the clip of the commanded coefficient
with the one read (winks, brows and mouth sides: left minus right; teeth: bright, colourless pixels between the lips;
tongue: reddish pixels from the lips to the chin). Beside it stands the same of the driving videos themselves: an
expression that is not read there cannot be read of a result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

RATE, SIDE, RISE, HOLD, REST = Fraction(25), 384, 4, 6, 3
SHAPES: dict[str, dict[str, float]] = {
    "wink left": {"eyeBlink_L": 1, "eyeSquint_L": 0.5},
    "wink right": {"eyeBlink_R": 1, "eyeSquint_R": 0.5},
    "gaze left": {"eyeLookOut_L": 1, "eyeLookIn_R": 1},
    "gaze right": {"eyeLookIn_L": 1, "eyeLookOut_R": 1},
    "gaze up": {"eyeLookUp": 1},
    "gaze down": {"eyeLookDown": 0.8},
    "crossed eyes": {"eyeLookIn": 1},
    "brow left": {"browOuterUp_L": 1, "browInnerUp_L": 0.5},
    "brow right": {"browOuterUp_R": 1, "browInnerUp_R": 0.5},
    "brows up": {"browInnerUp": 1, "browOuterUp": 1},
    "teeth": {"mouthUpperUp": 0.9, "mouthLowerDown": 0.9, "mouthStretch": 0.5},
    "tongue": {"tongueOut": 1, "jawOpen": 0.3},
    "lips drawn in": {"mouthRollLower": 0.9, "mouthRollUpper": 0.9},
    "cheeks puffed": {"cheekPuff": 1, "mouthPucker": 0.3},
    "mouth left": {"mouthLeft": 1, "jawLeft": 0.3},
    "mouth right": {"mouthRight": 1, "jawRight": 0.3},
    "smile left": {"mouthSmile_L": 1, "mouthDimple_L": 0.5},
    "smile right": {"mouthSmile_R": 1, "mouthDimple_R": 0.5},
    "jaw": {"jawOpen": 0.8},
}
FLOORS = {"wink": 0.6, "gaze": 0.6, "crossed eyes": 0.6, "brow": 0.6, "mouth": 0.6, "teeth": 0.5}
_INNER_LIPS, _OUTER_LIPS, _CHIN, _OUTER_EYES = slice(60, 68), slice(48, 60), slice(6, 11), (36, 45)

Scores = Mapping[str, float]
READ: dict[str, Callable[[Scores], float]] = {
    "wink": lambda s: s["eyeBlinkLeft"] - s["eyeBlinkRight"],
    "gaze left": lambda s: s["eyeLookOutLeft"] + s["eyeLookInRight"] - s["eyeLookInLeft"] - s["eyeLookOutRight"],
    "gaze right": lambda s: s["eyeLookInLeft"] + s["eyeLookOutRight"] - s["eyeLookOutLeft"] - s["eyeLookInRight"],
    "gaze up": lambda s: s["eyeLookUpLeft"] + s["eyeLookUpRight"] - s["eyeLookDownLeft"] - s["eyeLookDownRight"],
    "gaze down": lambda s: s["eyeLookDownLeft"] + s["eyeLookDownRight"] - s["eyeLookUpLeft"] - s["eyeLookUpRight"],
    "crossed eyes": lambda s: s["eyeLookInLeft"] + s["eyeLookInRight"] - s["eyeLookOutLeft"] - s["eyeLookOutRight"],
    "brow": lambda s: s["browOuterUpLeft"] - s["browOuterUpRight"],
    "brows up": lambda s: s["browInnerUp"] + s["browOuterUpLeft"] + s["browOuterUpRight"],
    "lips drawn in": lambda s: s["mouthRollLower"] + s["mouthRollUpper"],
    "cheeks puffed": lambda s: s["cheekPuff"],
    "mouth": lambda s: s["mouthLeft"] - s["mouthRight"],
    "smile": lambda s: s["mouthSmileLeft"] - s["mouthSmileRight"],
    "jaw": lambda s: s["jawOpen"],
}


def signal(name: str, scores: Scores, colours: Scores) -> float:
    """What was read of an expression, rising with it."""
    if name in colours:
        return colours[name]
    read = READ.get(name) or READ[name.rsplit(" ", 1)[0]]
    one_sided = name not in READ
    return -read(scores) if one_sided and name.endswith("right") else read(scores)


def clips(out: Path, cast: Path, people: list[str]) -> None:
    """Write OUT/PERSON.mp4 and OUT/commands.json."""
    from mien.avatars.camera import HeadMotion
    from mien.avatars.cast import load_member
    from mien.avatars.head_model import load_head_model
    from mien.media import VideoWriter

    model = load_head_model()
    out.mkdir(parents=True, exist_ok=True)
    ramp = np.r_[np.linspace(0, 1, RISE + 2)[1:-1], np.ones(HOLD), np.linspace(1, 0, RISE + 2)[1:-1], np.zeros(REST)]
    amounts = np.r_[np.zeros(REST), np.tile(ramp, len(SHAPES))]
    stretches = {name: [REST + i * len(ramp), REST + (i + 1) * len(ramp)] for i, name in enumerate(SHAPES)}
    for person in people:
        actor = load_member(cast / f"{person}.safetensors").avatar(model)
        with VideoWriter(out / f"{person}.mp4", rate=RATE, size=(SIDE, SIDE), timestamps=False) as video:
            for frame, amount in enumerate(amounts):
                shown = next((n for n, (low, high) in stretches.items() if low <= frame < high), "jaw")
                face = model.coefficients(**{part: value * amount for part, value in SHAPES[shown].items()})
                video.write(actor.render(face, HeadMotion(), SIDE).image)
    record = {"people": people, "stretches": stretches, "amounts": [round(float(a), 4) for a in amounts]}
    (out / "commands.json").write_text(json.dumps(record))


def drive(out: Path, portraits: Path, limit: int, options: list[str]) -> None:
    """Animate every portrait by every clip with the command, defaults and `options`; what exists is kept."""
    chosen = sorted(p for p in portraits.iterdir() if p.suffix.lower() in (".jpg", ".png", ".webp"))[:limit]
    for person in json.loads((out / "commands.json").read_text())["people"]:
        for portrait in chosen:
            result = out / "results" / f"{portrait.stem}--{person}.mp4"
            if not result.is_file():
                result.parent.mkdir(exist_ok=True)
                paths = ["-s", str(portrait), "-d", str(out / f"{person}.mp4"), "-o", str(result)]
                subprocess.run([sys.executable, "-m", "mien", "animate", *paths, *options], check=True)


def score(out: Path) -> dict[str, float]:
    """Print and return the mean correlation of every expression over all results; OUT/scores.json has every one."""
    record = json.loads((out / "commands.json").read_text())
    results, drivers = sorted((out / "results").glob("[!.]*.mp4")), [out / f"{p}.mp4" for p in record["people"]]
    shown, seen = ({path.stem: correlations(path, out, record) for path in paths} for paths in (drivers, results))
    means = {name: float(np.mean([row[name] for row in seen.values()])) for name in record["stretches"]}
    print(f"{len(seen)} videos\n\n| expression | correlation | lowest | highest | driving videos | floor |")
    print("|---|---|---|---|---|---|")
    for name, mean in means.items():
        found, driven = ([row[name] for row in rows.values()] for rows in (seen, shown))
        floor = next((f for key, f in FLOORS.items() if name.startswith(key)), "")
        print(f"| {name} | {mean:.2f} | {min(found):.2f} | {max(found):.2f} | {np.mean(driven):.2f} | {floor} |")
    (out / "scores.json").write_text(json.dumps({"mean": means, "results": seen, "drivers": shown}, indent=1))
    return means


def correlations(video: Path, out: Path, record: dict[str, Any]) -> dict[str, float]:
    """Of what was commanded with what is read of a video, over every expression's stretch."""
    scores, colours = kept_readings(video, out / "readings" / f"{video.stem}.json")
    amounts, found = np.array(record["amounts"]), {}
    for name, (low, high) in record["stretches"].items():
        frames = range(max(0, low - REST), min(high, len(scores)))
        seen = np.array([signal(name, scores[i], colours[i]) for i in frames])
        told = amounts[frames.start : frames.stop]
        found[name] = 0.0 if seen.std() < 1e-6 else float(np.corrcoef(told, seen)[0, 1])
    return found


def kept_readings(video: Path, kept: Path) -> tuple[list[Scores], list[Scores]]:
    """`read`, once for every video: what it found is kept in a file until the video is newer."""
    if not kept.is_file() or kept.stat().st_mtime < video.stat().st_mtime:
        print(f"reading {video.name}", file=sys.stderr)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(read(video)))
    scores, colours = json.loads(kept.read_text())
    return scores, colours


def read(result: Path) -> tuple[list[Scores], list[Scores]]:
    """Blendshapes and colours of every frame; a frame without a face repeats the one before."""
    import torch

    from mien.faces import EXPRESSION_NAMES, load_face_reader
    from mien.media import open_clip

    torch.set_num_threads(1)  # the networks are small: more threads wait for each other, for minutes beside other work
    reader, hint = load_face_reader("auto"), None
    scores: list[Scores] = []
    colours: list[Scores] = []
    for frame in open_clip(result):
        hint = reader.read(frame, hint)
        if hint is None:
            scores.append(scores[-1] if scores else dict.fromkeys(EXPRESSION_NAMES, 0.0))
            colours.append(colours[-1] if colours else {"teeth": 0.0, "tongue": 0.0})
            continue
        scores.append(dict(zip(EXPRESSION_NAMES, map(float, hint.expression), strict=True)))
        colours.append({"teeth": teeth(frame, hint.landmarks), "tongue": tongue(frame, hint.landmarks)})
    reader.close()
    return scores, colours


def teeth(rgb: np.ndarray, landmarks: np.ndarray) -> float:
    """Bright, colourless pixels between the lips, in parts of the squared distance of the outer eye corners."""
    inside = _within(rgb, landmarks[_INNER_LIPS])
    if len(inside) < 4:
        return 0.0
    level = max(float(np.median(_within(rgb, landmarks[[1, 2, 3, 48, 31, 36]]).mean(1))), 30.0)
    bright = (inside.mean(1) > 0.75 * level) & (np.ptp(inside, axis=1) < 0.35 * inside.max(1))
    return float(bright.sum() / np.sum((landmarks[_OUTER_EYES[0]] - landmarks[_OUTER_EYES[1]]) ** 2))


def tongue(rgb: np.ndarray, landmarks: np.ndarray) -> float:
    """How much redder the middle from the lips to the chin is than the cheeks."""
    middle = np.concatenate([landmarks[[59, 57, 55]], landmarks[_CHIN][[3, 2, 1]]])
    below, cheeks = _within(rgb, middle), _within(rgb, landmarks[[1, 2, 3, 48, 31, 36]])
    if len(below) < 4 or len(cheeks) < 4:
        return 0.0

    def redness(colours: np.ndarray) -> float:
        return float(((colours[:, 0] + 1) / (colours.sum(1) + 3)).mean())

    return redness(below) - redness(cheeks)


def _within(rgb: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Pixels [n, 3] inside a polygon [k, 2]."""
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
    return rgb[mask > 0].astype(np.float32)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("clips", "drive", "score"))
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--people", nargs=2, default=["076", "092"])
    parser.add_argument("--limit", type=int, default=10)
    given, options = parser.parse_known_args()
    if given.verb == "clips":
        clips(given.out, given.folder, given.people)
    elif given.verb == "drive":
        drive(given.out, given.folder, given.limit, options)
    else:
        score(given.out)


if __name__ == "__main__":
    main()
