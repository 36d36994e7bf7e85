"""Ten avatars driven by real clips: `python benchmarks/avatar_motion.py CAST HEAD_MODEL CLIPS OUT [FRAMES]`.

Ten avatars of the folder CAST, drawn by a fixed seed, each perform the motion measured in a clip of the folder CLIPS;
OUT gets the portraits and videos. Both clips are then read again, and their motion correlated where the driving clip
moves. Wanted: yaw 0.95, jaw 0.85, blink 0.8, smile 0.6, identity 0.6. The reader is the one that measured the motion;
for figures that do not depend on it read the videos with another one.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np

from mien.avatars.cast import CastRules, cast_files, load_details, load_member
from mien.avatars.head_model import HeadModel, load_head_model
from mien.avatars.motion import Track, load_tracks, measure_track, save_tracks
from mien.evaluation.identity import Retail, YuNet, cosine
from mien.evaluation.motion import STILL_DEGREES, STILL_SHAPE, angles, gaze
from mien.faces import EXPRESSION_NAMES, FaceReader, FaceReading, load_face_reader
from mien.media import VideoWriter, open_clip, read_image, write_image

AVATARS, SEED, SIDE = 10, 7, 384
TARGETS = {"yaw": 0.95, "jaw": 0.85, "blink": 0.8, "smile": 0.6, "identity": 0.6}
SHAPES = {
    "jaw": ("jawOpen",),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "brow": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
}
COLUMNS = ("yaw", "pitch", "roll", *SHAPES, "gaze", "identity", "found")
FACE_ID = Path(__file__).resolve().parents[1] / "tests" / "assets" / "face_id"


def measured(model: HeadModel, clips: list[Path], library: Path, frames: int) -> dict[str, Track]:
    """The clips' motion, read once and kept in a library."""
    if not library.is_file():
        reader = load_face_reader("mesh")
        save_tracks(library, [measure_track(model, reader, clip, frames) for clip in clips], model.names)
        reader.close()
    return {track.name: track for track in load_tracks(library)}


def signals(face: FaceReading) -> dict[str, float]:
    """What is correlated: degrees, and means of blendshapes."""
    yaw, pitch, roll = angles(face)
    shapes = {
        name: float(np.mean([face.expression[EXPRESSION_NAMES.index(shape)] for shape in names]))
        for name, names in SHAPES.items()
    }
    return {"yaw": yaw, "pitch": pitch, "roll": roll, **shapes, "gaze": float(gaze(face)[:, 0].mean())}


def scores(driving: Path, result: Path, portrait: Path, reader: FaceReader, frames: int) -> dict[str, float]:
    """Correlations where the driving clip moves; identity: mean cosine with the portrait; found: part of the frames."""
    embedder = Retail(
        YuNet(FACE_ID / "face_detection_yunet_2023mar.onnx"), FACE_ID / "face-reidentification-retail-0095.onnx"
    )
    person = embedder.embed(read_image(portrait))
    pairs, same, count = [], [], 0
    for one, two in zip(islice(iter(open_clip(driving)), frames), iter(open_clip(result)), strict=False):
        count += 1
        faces = reader.read(one), reader.read(two)
        if faces[0] is not None and faces[1] is not None:
            pairs.append((signals(faces[0]), signals(faces[1])))
        alike = cosine(person, embedder.embed(two))
        if alike is not None:
            same.append(alike)
    row = {"found": len(pairs) / max(count, 1), "identity": float(np.mean(same)) if same else float("nan")}
    for name in COLUMNS[:-2]:
        driven, got = (np.array([pair[side][name] for pair in pairs]) for side in (0, 1))
        still = STILL_DEGREES if name in ("yaw", "pitch", "roll") else STILL_SHAPE
        if len(pairs) > 2 and driven.std() >= still and got.std() > 0:
            row[name] = float(np.corrcoef(driven, got)[0, 1])
    return row


def perform(file: Path, clip: Path, track: Track, model: HeadModel, out: Path) -> tuple[Path, Path]:
    """Render one avatar in one motion; its video, and its portrait."""
    member = load_member(file)
    avatar = member.avatar(model)
    video, portrait = out / f"{file.stem}--{clip.stem}.mp4", out / f"{file.stem}.png"
    write_image(portrait, member.photo)
    with VideoWriter(video, rate=open_clip(clip).info.rate, size=(SIDE, SIDE), timestamps=False) as writer:
        for moment in range(len(track)):
            writer.write(avatar.render(track.expression[moment], track.motion(moment), SIDE, 1).image)
    return video, portrait


def main() -> None:
    """Render, read again, print a table."""
    cast, head, folder, out = (Path(argument) for argument in sys.argv[1:5])
    frames = int(sys.argv[5]) if len(sys.argv) > 5 else 120
    model = load_head_model(head)
    # A cast made by older rules may hold people who hardly open their mouth; today they are left out.
    files = [file for file in cast_files(cast) if load_details(file)["responses"]["jaw"] >= CastRules().jaw]
    clips = sorted(folder.glob("*.mp4"))
    rng = np.random.default_rng(SEED)
    chosen = [files[number] for number in rng.permutation(len(files))[:AVATARS]]
    drivers = [clips[number] for number in np.resize(rng.permutation(len(clips)), AVATARS)]
    out.mkdir(parents=True, exist_ok=True)
    tracks = measured(model, sorted(set(drivers)), out / f"motions_{frames}.safetensors", frames)
    reader, rows = load_face_reader("mesh"), {}
    for file, clip in zip(chosen, drivers, strict=True):
        video, portrait = perform(file, clip, tracks[clip.stem], model, out)
        rows[video.stem] = scores(clip, video, portrait, reader, frames)
    reader.close()
    means = {name: [row[name] for row in rows.values() if name in row] for name in COLUMNS}
    rows |= {"mean": {name: float(np.mean(found)) for name, found in means.items() if found}, "wanted": TARGETS}
    print("| pair | " + " | ".join(COLUMNS) + " |\n" + "|---" * (1 + len(COLUMNS)) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[key]:.2f}" if key in row else "-" for key in COLUMNS) + " |")


if __name__ == "__main__":
    main()
