"""Hundreds of hostile inputs: each ends with success or with one sentence, whole files or none, and in time.

What is made of good files is made by seeds, so that a case that fails can be looked at again by its name.
"""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
import typer

from hostile_files import Make, Videos, drivers, mutated, named, portraits
from hostile_tables import damaged_tables, dex_templates, templates
from mien.cli.app import app
from mien.media import open_clip, write_video
from samples import DrawnFaceReader, job_pipeline, talking_frames
from tiny_dex import tiny_dex_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="makes pipes, links and odd names")]
SECONDS = 60  # for one case; most take less than a tenth of one


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return Videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Long enough for `mien data prepare`."""
    path = tmp_path_factory.mktemp("long") / "d.mp4"
    return write_video(path, talking_frames(26, 128, 112), 25).read_bytes()


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest model, loaded once, and faces that are found at once."""
    monkeypatch.setattr("mien.pipelines.x_portrait.XPortraitPipeline.from_pretrained", lambda *_, **__: PIPE)
    monkeypatch.setattr("mien.pipelines.dex_portrait.DeXPortraitPipeline.from_pretrained", lambda *_, **__: DEX)
    for module in ("faces", "jobs.data.prepare"):
        monkeypatch.setattr(f"mien.{module}.load_face_reader", lambda *_, **__: DrawnFaceReader())


PIPE, DEX, COMMAND = job_pipeline(), tiny_dex_pipeline(), typer.main.get_command(app)


@contextmanager
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError("this case hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Result:
    """How a command line ended."""

    exit_code: int
    stdout: str
    stderr: str

    def sentence(self) -> None:
        """Fail unless there is just one sentence."""
        (line,) = self.stderr.splitlines()
        assert line.startswith("mien: ") and len(line.replace("x" * 100, "")) < 1500
        assert self.stdout == ""


def run(*words: object, codes: tuple[int, ...] = (0, 2)) -> Result:
    """Run a command line; fail unless it ended in time and with one of the codes."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with in_time(), redirect_stdout(out), redirect_stderr(err):
        try:
            COMMAND.main([str(word) for word in words], "mien")
        except SystemExit as left:
            code = left.code
    assert code in codes, (code, err.getvalue())
    assert "Traceback" not in out.getvalue() + err.getvalue()
    result = Result(int(str(code)), out.getvalue(), err.getvalue())
    if code == 2:
        result.sentence()
    return result


def check_outputs(result: Result, out: Path) -> None:
    """Whole files that can be read, or none at all."""
    left = sorted(out.rglob("*")) if out.exists() else []
    if result.exit_code == 2:
        assert left == []
        return
    assert sorted(path.suffix for path in left) in ([".json", ".mp4"], [".json", ".png"])
    for path in left:
        if path.suffix == ".json":
            assert json.loads(path.read_text())["frames"] >= 1
        else:
            assert sum(1 for _ in open_clip(path)) >= 1


def all_of(cases: dict[str, Make], place: Path, check: Callable[[Path, Path], object], at_least: int) -> None:
    """check(what was made, a folder for outputs) for every case; those that fail are named together."""
    assert len(cases) >= at_least, "the generator has lost cases"
    failed: dict[str, str] = {}
    for number, (name, make) in enumerate(cases.items()):
        folder = place / str(number)
        folder.mkdir()
        try:
            check(make(folder), place / f"out{number}")
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"[:600]
        except AssertionError as error:
            failed[name] = str(error)[:600]
    assert not failed, json.dumps(failed, indent=1)


def animate(out: Path, **options: object) -> Result:
    given = {"-s": None, "-o": out, "--steps": 1, "--guidance": 1} | options
    result = run("animate", *(word for pair in given.items() for word in pair))
    check_outputs(result, out)
    return result


def test_portraits(inputs: Path, tmp_path: Path) -> None:
    driver = inputs / "driver.png"
    all_of(portraits(), tmp_path, lambda made, out: animate(out, **{"-s": made, "-d": driver}), 180)


def test_drivers(inputs: Path, videos: Videos, tmp_path: Path) -> None:
    portrait = inputs / "portrait.png"
    all_of(drivers(videos), tmp_path, lambda made, out: animate(out, **{"-s": portrait, "-d": made}), 120)


def test_pictures_as_drivers(inputs: Path, tmp_path: Path) -> None:
    cases = dict(list(portraits().items())[::6])
    portrait = inputs / "portrait.png"
    all_of(cases, tmp_path, lambda made, out: animate(out, **{"-s": portrait, "-d": made}), 30)


def test_motion_files(inputs: Path, tmp_path: Path) -> None:
    portrait = inputs / "portrait.png"

    def refused(made: Path, out: Path) -> None:
        assert animate(out, **{"-s": portrait, "-d": made}).exit_code == 2

    all_of(templates(), tmp_path, refused, 35)


def test_motion_templates(inputs: Path, tmp_path: Path) -> None:
    ways = cycle(("-d", "--pose-from", "--expression-from"))
    ended: list[int] = []

    def check(made: Path, out: Path) -> None:
        given = {"-s": inputs / "portrait.png", "--system": "dex", next(ways): made}
        ended.append(animate(out, **given).exit_code)

    all_of(dex_templates(DEX.encoder_id, DEX.expression_encoder.config.code), tmp_path, check, 70)
    assert 5 <= ended.count(0) <= 30, "some are whole, in another type or with another rate"


def test_tables_of_jobs(tmp_path: Path) -> None:
    def check(made: Path, out: Path) -> None:
        result = run("batch", made, "-o", out, "--set", "steps=1", codes=(1, 2))
        if result.exit_code == 2:
            assert not out.exists()
        else:  # all jobs failed, for what they name does not exist
            assert sorted(path.name for path in out.rglob("*")) == ["failures.csv"]

    all_of(damaged_tables(), tmp_path, check, 80)


def test_prepare(long_video: bytes, videos: Videos, tmp_path: Path) -> None:
    cases = {
        f"{how} {seed}": named("d.mp4", mutated(long_video, how, seed))
        for how, seeds in (("cut", 6), ("flipped", 6), ("head", 2), ("zeroed", 2), ("shuffled", 2), ("junk behind", 1))
        for seed in range(seeds)
    }
    cases |= dict(list(drivers(videos).items())[::4])

    def check(made: Path, out: Path) -> None:
        result = run("data", "prepare", made, out, "--side", 64, "--workers", 1)
        for path in out.rglob("*") if result.exit_code == 0 else []:
            assert path.is_dir() or path.suffix in (".mp4", ".npz", ".json"), path
            assert path.suffix != ".json" or "failed" in json.loads(path.read_text())

    all_of(cases, tmp_path, check, 50)


ODD_OPTIONS: dict[str, list[str]] = {
    "--fps": ["1e999999999", "nan", "inf", "-1", "0", "0/0", "1/0", "9" * 5000, "٣", "1_0", "1/" + "9" * 30, "0x10"],
    "--steps": ["1.5", "٣", "9" * 50, "-0", ""],
    "--seed": ["9" * 50, "-1", "1e3"],
    "--best-frame": ["9" * 50, "-1", "1.0", "AUTO"],
    "--face": ["9" * 50, "-1", "first"],
    "--guidance": ["nan", "-inf", "1e400", "0x1"],
    "--mouth-gain": ["nan", "5", "-1"],
    "--smooth": ["nan", "2"],
    "--start": ["nan", "-1", "1e400", "99999"],
    "--end": ["nan", "0", "-1", "1e-9"],
    "--window": ["0", "99999999999", "nan"],
    "--overlap": ["99999999999"],
    "--model": ["..", "/", "a\nb", "\u202e", "x" * 5000, "-", "a/b/c", "file:///etc", "nano "],
    "--reader": ["", "NANO", "x" * 500],
    "--device": ["cuda:99", "meta", ""],
    "--dtype": ["float8", ""],
}


def test_options(inputs: Path, tmp_path: Path) -> None:
    words = [(name, value) for name, values in ODD_OPTIONS.items() for value in values]
    cases: dict[str, Make] = {f"{name} {value[:40]!r}": lambda place: place for name, value in words}
    values = iter(words)

    def check(_: Path, out: Path) -> None:
        name, value = next(values)
        animate(out, **{"-s": inputs / "portrait.png", "-d": inputs / "driver.png", name: value})

    all_of(cases, tmp_path, check, 50)


def test_outputs(inputs: Path, videos: Videos, tmp_path: Path) -> None:
    """Outputs that nobody should ask for: nothing but the output and its record comes into being, or nothing at all."""
    names = [
        *(
            "ü.mp4",
            "a\nb.mp4",
            "🙂.mp4",
            "%03d.mp4",
            "a:b.mp4",
            "-x.mp4",
            "[b].mp4",
            "x" * 240 + ".mp4",
            "x" * 300 + ".mp4",
        ),
        *("out.txt", "out.MP4", "out.mp4.", ".mp4", "out..mp4", "out.png", "CON.mp4", "a\tb.mkv", "x.gif", "~.mp4"),
        *("fifo.mp4", "loop.mp4", "dangling.mp4", "folder.mp4", "file/out.mp4", "file.json"),
    ]

    def make(place: Path) -> Path:
        os.mkfifo(place / "fifo.mp4")
        (place / "loop.mp4").symlink_to(place / "loop.mp4")
        (place / "dangling.mp4").symlink_to(place / "nowhere/x.mp4")
        (place / "folder.mp4").mkdir()
        (place / "file").touch()
        return place

    wanted = iter(names)
    driver = named("d.mp4", videos.bytes[".mp4"])(tmp_path)

    def check(place: Path, _: Path) -> None:
        before, output = set(place.rglob("*")), place / next(wanted)
        result = run("animate", "-s", inputs / "portrait.png", "-d", driver, "-o", output, "--steps", 1)
        new = set(place.rglob("*")) - before
        if result.exit_code == 2:
            assert not new
        else:
            assert len([path for path in new if not path.is_dir()]) >= 1
            assert not any(path.suffix in (".part", ".work") for path in new)

    all_of(dict.fromkeys(names, make), tmp_path, check, 25)
