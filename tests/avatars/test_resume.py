"""A dataset is the same however it was made: at once, by several workers, or by a run that was killed and one after."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mien.jobs.data.avatars import render_dataset
from mien.jobs.data.options import GroupOptions
from mien.jobs.run.progress import Silent

pytestmark = pytest.mark.slow

PEOPLE, SEED = 3, 11


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def command(out: Path, pack: Path, workers: int) -> list[str]:
    code = "import sys; from mien.cli.app import app; app(sys.argv[1:])"
    arguments = ["--people", str(PEOPLE), "--per-group", "1", "--seed", str(SEED), "--workers", str(workers)]
    return [sys.executable, "-c", code, "data", "avatars", "--out", str(out), "--head-model", str(pack), *arguments]


@pytest.fixture(scope="module")
def whole(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    outcome = render_dataset(GroupOptions(folder, PEOPLE, head=pack, per_group=1, seed=SEED, workers=1), Silent())
    assert outcome.done == ["group_000", "group_001", "group_002"]
    return files(folder)


def test_a_killed_run_and_two_workers_give_the_same_files(whole: dict[str, bytes], pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen(command(out, pack, 1), env=environment)
    first = out / "group_000_people.json"
    try:
        patience = time.monotonic() + 300
        while not first.is_file() and run.poll() is None and time.monotonic() < patience:
            time.sleep(0.02)
    finally:
        run.kill()
        run.wait()
    assert first.is_file() and not (out / "group_002_people.json").exists(), "killed half way"
    (out / ".group_001_frames.0123456789ab.part.npy").write_bytes(b"half a file, as a killed run leaves it")
    (out / "group_002_frames.npy").write_bytes(whole["group_002_frames.npy"][:1000])
    subprocess.run(command(out, pack, 2), env=environment, check=True, stdout=subprocess.DEVNULL)
    again = files(out)
    assert set(again) == set(whole)
    assert [name for name in whole if again[name] != whole[name]] == []
