"""Ten avatars driven by real clips, judged: `python benchmarks/avatar_judge.py CAST HEAD_MODEL SHARED OUT [FRAMES]`.

Ten avatars of the folder CAST, drawn by a fixed seed, each perform the motion measured in a real clip of SHARED/data;
OUT gets the videos, the judge's report and a contact sheet a pair. The judge is SHARED/tools/judge.py, which shares no
code with this project. Targets (issue 3): yaw 0.95, jaw 0.85, blink 0.8, smile 0.6 where the driver moves, identity
0.6. Real people's clips give numbers only; nothing of their pictures is kept but in the judge's sheets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from mien.avatars.cast import CastRules, cast_files, load_details, load_member
from mien.avatars.head_model import HeadModel, load_head_model
from mien.avatars.motion import Track, load_tracks, measure_track, save_tracks
from mien.faces import load_face_reader
from mien.media import VideoWriter, open_clip, write_image

AVATARS, SEED, SIDE = 10, 7, 384
TARGETS = {"yaw": 0.95, "jaw": 0.85, "blink": 0.8, "smile": 0.6, "identity": 0.6}
CLIPS = ("real/driving/*.mp4", "clips/c0[46789]*.mp4")  # of real people


def measured(model: HeadModel, clips: list[Path], shared: Path, library: Path, frames: int) -> dict[str, Track]:
    """The clips' motion, read once and kept in a library."""
    if not library.is_file():
        reader = load_face_reader("mesh")
        save_tracks(library, [measure_track(model, reader, clip, frames) for clip in clips], model.names)
        reader.close()
    return {track.name: track for track in load_tracks(library)}


def main() -> None:
    """Render, judge, print a table."""
    cast, head, shared, out = (Path(argument) for argument in sys.argv[1:5])
    frames = int(sys.argv[5]) if len(sys.argv) > 5 else 120
    model = load_head_model(head)
    # A cast made by older rules may hold people who hardly open their mouth; today they are left out.
    files = [file for file in cast_files(cast) if load_details(file)["responses"]["jaw"] >= CastRules().jaw]
    clips = sorted(path for pattern in CLIPS for path in (shared / "data").glob(pattern))
    rng = np.random.default_rng(SEED)
    chosen = [files[number] for number in rng.permutation(len(files))[:AVATARS]]
    drivers = [clips[number] for number in np.resize(rng.permutation(len(clips)), AVATARS)]
    out.mkdir(parents=True, exist_ok=True)
    tracks = measured(model, sorted(set(drivers)), shared, out / f"motions_{frames}.safetensors", frames)
    pairs = []
    for file, clip in zip(chosen, drivers, strict=True):
        name, track = f"{file.stem}--{clip.stem}", tracks[clip.stem]
        rate = open_clip(clip).info.rate
        member = load_member(file)
        avatar = member.avatar(model)
        write_image(out / f"{name}.png", member.photo)
        with VideoWriter(out / f"{name}.mp4", rate=rate, size=(SIDE, SIDE), timestamps=False) as video:
            for moment in range(len(track)):
                video.write(avatar.render(track.expression[moment], track.motion(moment), SIDE, 1).image)
        pairs.append({"name": name, "source": f"{name}.png", "driving": str(clip), "result": f"{name}.mp4"})
    (out / "pairs.json").write_text(json.dumps(pairs, indent=1))
    judge = [sys.executable, str(shared / "tools/judge.py"), str(out / "pairs.json"), "--out", str(out / "judged")]
    subprocess.run([*judge, "--sheet"], check=True, stdout=subprocess.DEVNULL)
    report = json.loads((out / "judged/report.json").read_text())
    columns = ["yaw", "pitch", "roll", "jaw", "blink", "smile", "brow", "gaze", "identity", "found", "sharp"]
    print("| pair | " + " | ".join(columns) + " |\n" + "|---" * (1 + len(columns)) + "|")
    for row in [*report["pairs"], {"name": "mean", **report["mean"]}, {"name": "target", **TARGETS}]:
        cells = ["-" if row.get(name) is None else f"{row[name]:.2f}" for name in columns]
        print(f"| {row['name']} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
