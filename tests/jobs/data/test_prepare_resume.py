"""Prepared clips are the same however they were made: at once, or by a killed run and two workers after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mien.avatars.head_model import load_head_model
from mien.avatars.motion import generated_track
from mien.avatars.people import RandomPerson
from mien.media import open_clip, write_video

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def videos(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, model = tmp_path_factory.mktemp("videos"), load_head_model(pack)
    track = generated_track(model, np.random.default_rng(1), 26, 25.0, 8.0)
    person = RandomPerson(model, 7018)
    frames = [person.render(track.expression[m], track.motion(m), 256, 1).image for m in range(len(track))]
    for number, name in enumerate(NAMES):
        write_video(folder / f"{name}.mp4", [np.roll(frame, number, 0) for frame in frames], 25)
    (folder / "d.mp4").write_bytes(b"no video")
    return folder


def prepare(videos: Path, out: Path, workers: int) -> subprocess.Popen:
    code = "import sys; from mien.cli.app import app; app(sys.argv[1:])"
    arguments = ["--side", "64", "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, "-c", code, "data", "prepare", str(videos), str(out), *arguments]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_killed_run_and_two_workers_give_the_same_clips(videos: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    told, _ = prepare(videos, whole, 1).communicate()
    assert "3 videos made, 1 left out" in told
    run = prepare(videos, killed, 1)
    try:
        patience = time.monotonic() + 300
        while not (killed / "a.json").is_file() and run.poll() is None and time.monotonic() < patience:
            time.sleep(0.01)
    finally:
        run.kill()
        run.communicate()
    assert (killed / "a.json").is_file() and not (killed / "c.json").exists(), "killed half way"
    (killed / ".b_000.0123456789ab.part.mp4").write_bytes(b"half a video, as a killed run leaves it")
    told, _ = prepare(videos, killed, 2).communicate()
    assert "were there already" in told and told.count("1 left out") == 1
    names = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in killed.iterdir()) == names
    assert len(names) == 3 * len(NAMES) + 1
    for name in names:
        if name.endswith(".mp4"):
            one, other = (np.stack(list(open_clip(folder / name))) for folder in (whole, killed))
            assert one.shape == other.shape and np.abs(one.astype(int) - other).mean() < 0.5
        elif name.endswith(".npz"):  # sums of more threads than one end in other last digits
            with np.load(whole / name) as one, np.load(killed / name) as other:
                assert one.files == other.files, name
                for key in one.files:
                    assert one[key].dtype == other[key].dtype, f"{name}: {key}"
                    assert one[key].dtype.kind == "U" or np.allclose(one[key], other[key], atol=1e-3), f"{name}: {key}"
        else:
            assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
