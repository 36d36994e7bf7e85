"""What users get wrong: one sentence on stderr, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mien.cli.app import app
from mien.media import write_image
from samples import DrawnFaceReader, draw_face, write_tone

runner = CliRunner()
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@dataclass
class Place:
    """Good inputs to start from, and a folder for bad ones."""

    inputs: Path
    model: Path
    bad: Path
    out: Path

    def good(self, **changes: Any) -> list[str]:
        """A command line that works, with options added, replaced, or with None taken out."""
        given = {
            "-s": self.inputs / "portrait.png",
            "-d": self.inputs / "driver.mp4",
            "-o": self.out / "out.mp4",
            "--model": self.model,
            **{
                name if name.startswith("-") else "--" + name.replace("_", "-"): value
                for name, value in changes.items()
            },
        }
        words = ["animate"]
        for name, value in given.items():
            for one in value if isinstance(value, list) else [value]:
                words += [] if one is None else [name] if one is True else [name, str(one)]
        return words

    def file(self, name: str, content: bytes) -> Path:
        path = self.bad / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def part(self, name: str, of: Path, kept: float) -> Path:
        """The first part of a file."""
        content = of.read_bytes()
        return self.file(name, content[: int(len(content) * kept)])

    def changed_model(self, change: Callable[[Path], object]) -> Path:
        folder = shutil.copytree(self.model, self.bad / "model")
        change(folder)
        return folder


class RunsCode:
    """A pickle of this would write a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def evil(place: Place, name: str) -> Path:
    return place.file(name, pickle.dumps(RunsCode(place.bad / "code-was-run")))


def frameless(place: Place) -> Path:
    path = place.bad / "frameless.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    return path


def folder_of_sizes(place: Place) -> Path:
    for index, size in enumerate((64, 32)):
        write_image(place.bad / "sizes" / f"{index}.png", draw_face(size, size))
    return place.bad / "sizes"


def playlist(place: Place) -> Path:
    return place.file("list.mp4", f"ffconcat version 1.0\nfile {place.inputs / 'driver.mp4'}\n".encode())


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return edit


def edit_json(name: str, **changes: Any) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def first_name(tensors: dict[str, torch.Tensor]) -> str:
    return sorted(tensors)[0]


def only_pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(pickle.dumps(RunsCode(folder.parent / "code-was-run")))


def pickled_under_another_name(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(RunsCode(folder.parent / "code-was-run")))


def read_only(place: Place) -> Path:
    path = place.bad / "kept.mp4"
    path.write_bytes(b"keep me")
    path.chmod(0o444)
    return path


def linked(place: Place) -> Path:
    link = place.bad / "link.mp4"
    link.symlink_to(place.inputs / "driver.mp4")
    return link


def named_as_preview(place: Place) -> Path:
    return Path(shutil.copy(place.inputs / "driver.mp4", place.bad / "out.preview.mp4"))


def lora_of_something_else(place: Place) -> Path:
    path = place.bad / "other.safetensors"
    save_file({"transformer.to_q.lora_A.weight": torch.zeros(2, 2)}, path)
    return path


def blank_pictures(place: Place) -> Path:
    return write_image(place.bad / "blank.png", np.full((64, 64, 3), 60, np.uint8))


# name: (words of the command line, what the sentence must name)
CASES: dict[str, tuple[Callable[[Place], list[str]], str]] = {
    # portraits
    "portrait missing": (lambda p: p.good(**{"-s": p.bad / "gone.png"}), "gone.png does not exist"),
    "portrait empty": (lambda p: p.good(**{"-s": p.file("empty.png", b"")}), "empty.png is empty"),
    "portrait truncated": (lambda p: p.good(**{"-s": p.part("cut.png", p.inputs / "portrait.png", 0.5)}), "cut.png"),
    "portrait is text": (lambda p: p.good(**{"-s": p.file("text.png", b"hello")}), "text.png is not an image"),
    "portrait is a folder": (lambda p: p.good(**{"-s": p.inputs}), "is a folder"),
    "portrait is a video": (
        lambda p: p.good(**{"-s": p.inputs / "driver.mp4"}),
        "driver.mp4 as a source needs a model that moves by read landmarks",
    ),
    "portrait and driver swapped": (
        lambda p: p.good(**{"-s": p.inputs / "driver.mp4", "-d": p.inputs / "driver.png"}),
        "driver.png is a picture, which does not move: if they were swapped, give the picture with -s",
    ),
    "portrait is an address": (
        lambda p: p.good(**{"-s": "https://example.com/a/face.png?x=1"}),
        "https://example.com/a/face.png?x=1 is an address, and nothing is fetched",
    ),
    "driver is an address": (
        lambda p: p.good(**{"-d": "rtsp://camera.local/1"}),
        "rtsp://camera.local/1 is an address, and nothing is fetched",
    ),
    "driver is a file's address": (
        lambda p: p.good(**{"-d": "file:///tmp/driver.mp4"}),
        "file:///tmp/driver.mp4 is an address, which is not read; give the path /tmp/driver.mp4",
    ),
    "driver has a name too long to be one": (
        lambda p: p.good(**{"-d": f"{'d' * 300}.mp4"}),
        f"mien: {'d' * 60}… cannot be read: its name is too long",
    ),
    "driver is standard input": (lambda p: p.good(**{"-d": "-"}), "- would be what another program writes"),
    "driver is a HEIC picture": (
        lambda p: p.good(**{"-d": p.file("driver.mov", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))}),
        "driver.mov is a HEIC picture",
    ),
    "output is standard output": (lambda p: p.good(**{"-o": "-"}), "-o - would write to standard output"),
    "output's folder is a file": (
        lambda p: p.good(**{"-o": p.file("inway", b"x")}),
        "inway is a file, so results cannot go into a folder of that name",
    ),
    "output is inside a file": (
        lambda p: p.good(**{"-o": p.file("inway", b"x") / "a" / "out.mp4"}),
        "inway is a file and no folder",
    ),
    "output's name is too long": (
        lambda p: p.good(**{"-o": f"{'o' * 300}.mp4"}),
        f"mien: {'o' * 60}… cannot be written: its name is too long",
    ),
    "portrait is a picture beside a video": (
        lambda p: p.good(**{"-s": [p.inputs / "portrait.png", p.inputs / "driver.mp4"]}),
        "driver.mp4 is a video and goes alone",
    ),
    "portrait is a video beside a picture": (
        lambda p: p.good(**{"-s": [p.inputs / "driver.mp4", p.inputs / "portrait.png"]}),
        "goes alone",
    ),
    "video animated by a still": (
        lambda p: p.good(**{"-s": p.inputs / "driver.mp4", "-d": p.inputs / "driver.png", "-o": p.out / "out.png"}),
        "which does not move",
    ),
    "video without a face": (lambda p: p.good(**{"-s": p.inputs / "faceless.mp4"}), "no face was found in any frame"),
    "all faces without paste-back": (lambda p: p.good(face="all", no_paste_back=True), "leave --no-paste-back out"),
    "portrait of one pixel": (
        lambda p: p.good(**{"-s": write_image(p.bad / "dot.png", np.zeros((1, 1, 3), np.uint8))}),
        "1 x 1 pixels",
    ),
    "portrait without a face": (lambda p: p.good(**{"-s": p.inputs / "no_face.png"}), "no face was found in"),
    "portrait not given": (lambda p: p.good(**{"-s": None}), "source"),
    "second portrait missing": (
        lambda p: p.good(**{"-s": [p.inputs / "portrait.png", p.bad / "gone.png"]}),
        "gone.png does not exist",
    ),
    "second portrait without a face": (
        lambda p: p.good(**{"-s": [p.inputs / "portrait.png", blank_pictures(p)]}),
        "blank.png",
    ),
    "portrait with too few faces": (lambda p: p.good(face=3), "face 3"),
    "portrait is the driver": (
        lambda p: p.good(**{"-s": p.inputs / "driver.mp4", "-d": p.inputs / "driver.mp4"}),
        "driver.mp4 as a source needs a model",
    ),
    # drivers
    "driver missing": (lambda p: p.good(**{"-d": p.bad / "gone.mp4"}), "gone.mp4 does not exist"),
    "driver empty": (lambda p: p.good(**{"-d": p.file("empty.mp4", b"")}), "empty.mp4 is empty"),
    "driver truncated": (lambda p: p.good(**{"-d": p.part("cut.mp4", p.inputs / "driver.mp4", 0.02)}), "cut.mp4"),
    "driver is text": (lambda p: p.good(**{"-d": p.file("text.mp4", b"hello\n" * 50)}), "text.mp4 is not a video"),
    "driver is noise": (
        lambda p: p.good(**{"-d": p.file("noise.mp4", np.random.default_rng(0).bytes(4000))}),
        "noise.mp4 is not a video",
    ),
    "driver is sound": (
        lambda p: p.good(**{"-d": write_tone(p.bad / "tone.wav", 0.2)}),
        "tone.wav has no video stream",
    ),
    "driver of no frames": (lambda p: p.good(**{"-d": frameless(p)}), "frameless.mp4"),
    "driver is a playlist": (lambda p: p.good(**{"-d": playlist(p)}), "list.mp4 is not a video"),
    "driver folder is empty": (lambda p: p.good(**{"-d": p.bad}), "holds no images"),
    "driver folder without images": (lambda p: p.good(**{"-d": p.file("text/a.txt", b"a").parent}), "holds no images"),
    "driver folder of two sizes": (lambda p: p.good(**{"-d": folder_of_sizes(p)}), "different sizes"),
    "driver without a face": (lambda p: p.good(**{"-d": p.inputs / "faceless.mp4"}), "no face was found in any frame"),
    "driver not given": (lambda p: p.good(**{"-d": None}), "no driving video was given"),
    "start clip missing": (lambda p: p.good(start_from=p.bad / "gone.mp4"), "gone.mp4 does not exist"),
    "start clip of another length": (lambda p: p.good(start_from=p.inputs / "faceless.mp4"), "3 frames"),
    # numbers
    "start after the end of the driver": (lambda p: p.good(start=7), "has no frame from 7 seconds on"),
    "end before the start": (lambda p: p.good(start=0.2, end=0.1), "--end"),
    "gain too large": (lambda p: p.good(mouth_gain=5), "--mouth-gain"),
    "gains of a model that sees pixels": (lambda p: p.good(head_gain=0), "--head-gain needs"),
    "smoothing of a model that sees pixels": (lambda p: p.good(smooth=0.5), "--smooth needs"),
    "relative motion of a model that sees pixels": (lambda p: p.good(relative=True), "--relative needs"),
    "relative motion without alignment": (lambda p: p.good(relative=True, no_align=True), "leave --no-align out"),
    "face is a word": (lambda p: p.good(face="both"), "--face"),
    "rate is a word": (lambda p: p.good(fps="fast"), "--fps"),
    "rate of nothing": (lambda p: p.good(fps=0), "--fps"),
    "best frame beyond the end": (lambda p: p.good(best_frame=9), "9 frames, counted from 0"),
    "best frame is a word": (lambda p: p.good(best_frame="last"), "--best-frame"),
    "best frame negative": (lambda p: p.good(best_frame=-2), "--best-frame"),
    "steps negative": (lambda p: p.good(steps=-1), "--steps"),
    "steps of nothing": (lambda p: p.good(steps=0), "--steps"),
    "steps is a word": (lambda p: p.good(steps="many"), "--steps"),
    "too many fast steps": (lambda p: p.good(steps=60, fast=True), "--fast"),
    "guidance is no number": (lambda p: p.good(guidance="nan"), "--guidance"),
    "guidance infinite": (lambda p: p.good(guidance="inf"), "--guidance"),
    "guidance negative": (lambda p: p.good(guidance=-1), "--guidance"),
    "window of nothing": (lambda p: p.good(window=0), "--window"),
    "window too long for the model": (lambda p: p.good(window=25), "at most 24"),
    "overlap as long as the window": (lambda p: p.good(window=8, overlap=8), "--overlap"),
    "overlap longer than the model's window": (lambda p: p.good(overlap=9), "--overlap"),
    "seed negative": (lambda p: p.good(seed=-1), "--seed"),
    "seed too large": (lambda p: p.good(seed=2**64), "--seed"),
    # words
    "device unknown": (lambda p: p.good(device="tpu"), "--device"),
    "device not here": (lambda p: p.good(device="mps"), "--device is mps"),
    "precision unknown": (lambda p: p.good(dtype="int4"), "--dtype"),
    "option unknown": (lambda p: [*p.good(), "--magic"], "--magic"),
    "command unknown": (lambda p: ["animte"], "animte"),
    "words too many": (lambda p: [*p.good(), "more"], "more"),
    # outputs
    "output of unknown kind": (lambda p: p.good(**{"-o": p.out / "out.txt"}), "out.txt cannot be written"),
    "image of a video": (lambda p: p.good(**{"-o": p.out / "out.png"}), "out.png cannot be written"),
    "output is the driver": (lambda p: p.good(**{"-o": p.inputs / "driver.mp4"}), "is one of the inputs"),
    "output is the portrait": (
        lambda p: p.good(**{"-d": p.inputs / "driver.png", "-o": p.inputs / "portrait.png"}),
        "is one of the inputs",
    ),
    "output is a link to the driver": (lambda p: p.good(**{"-o": linked(p)}), "is one of the inputs"),
    "preview is the driver": (
        lambda p: p.good(**{"-d": named_as_preview(p), "-o": p.bad / "out.mp4", "--preview": True}),
        "is one of the inputs",
    ),
    "output is read-only": (lambda p: p.good(**{"-o": read_only(p)}), "read-only"),
    "output below a file": (lambda p: p.good(**{"-o": p.file("file", b"x") / "out.mp4"}), "out.mp4 cannot be written"),
    "output where nobody may write": (lambda p: p.good(**{"-o": "/proc/mien/out.mp4"}), "out.mp4 cannot be written"),
    "image where nobody may write": (
        lambda p: p.good(**{"-d": p.inputs / "driver.png", "-o": "/proc/mien/out.png"}),
        "out.png cannot be written",
    ),
    "output with an endless name": (lambda p: p.good(**{"-o": p.out / ("x" * 300 + ".mp4")}), "too long"),
    "output over a foreign record": (
        lambda p: p.good(**{"-o": p.file("data.json", b"[1, 2]").with_suffix(".mp4")}),
        "data.json",
    ),
    "image folder that is a file": (
        lambda p: p.good(**{"-d": p.inputs / "driver.png", "-o": p.file("file", b"x") / "out.png"}),
        "out.png cannot be written",
    ),
    # models
    "model with an endless name": (lambda p: p.good(model="x" * 300), "there is no model"),
    "model unknown": (lambda p: p.good(model="nanoo"), "there is no model nanoo"),
    "model not on the hub": (lambda p: p.good(model="nobody/nothing"), "nobody/nothing"),
    "model is a pickle": (lambda p: p.good(model=evil(p, "model.pth")), "model.pth is a file"),
    "model folder empty": (lambda p: p.good(model=p.bad), "model_index.json is missing"),
    "model index damaged": (
        lambda p: p.good(model=p.changed_model(lambda f: (f / "model_index.json").write_text("{"))),
        "model_index.json cannot be read",
    ),
    "model weights missing": (
        lambda p: p.good(model=p.changed_model(lambda f: (f / WEIGHTS).unlink())),
        f"{WEIGHTS} is missing",
    ),
    "model weights truncated": (
        lambda p: p.good(model=p.changed_model(lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-99]))),
        f"{WEIGHTS} is not a whole safetensors file",
    ),
    "model key missing": (
        lambda p: p.good(model=p.changed_model(edit_tensors(lambda t: t.pop(first_name(t))))),
        "1 missing keys",
    ),
    "model key too many": (
        lambda p: p.good(model=p.changed_model(edit_tensors(lambda t: t.update(extra=torch.zeros(1))))),
        "1 unexpected keys: extra",
    ),
    "model weight of another shape": (
        lambda p: p.good(
            model=p.changed_model(edit_tensors(lambda t: t.update({first_name(t): torch.zeros(1, 2, 3)})))
        ),
        "has shape [1, 2, 3]",
    ),
    "model weights pickled": (
        lambda p: p.good(model=p.changed_model(pickled_under_another_name)),
        f"{WEIGHTS} is not a whole safetensors file",
    ),
    "model weights only pickled": (lambda p: p.good(model=p.changed_model(only_pickled)), f"{WEIGHTS} is missing"),
    "model configuration nonsense": (
        lambda p: p.good(model=p.changed_model(edit_json("vae/config.json", block_out_channels="wide"))),
        "vae",
    ),
    "model sampler unknown": (
        lambda p: p.good(model=p.changed_model(edit_json("scheduler/scheduler_config.json", _class_name="Magic"))),
        "Magic",
    ),
    "lora without fast": (lambda p: p.good(lora=lora_of_something_else(p)), "--lora"),
    "lora missing": (lambda p: p.good(fast=True, lora=p.bad / "gone.safetensors"), "gone.safetensors does not exist"),
    "lora is a pickle": (lambda p: p.good(fast=True, lora=evil(p, "lora.pt")), "not a .safetensors file"),
    "lora of something else": (lambda p: p.good(fast=True, lora=lora_of_something_else(p)), "other.safetensors"),
}


@pytest.fixture
def place(inputs: Path, tiny_model: Path, tmp_path: Path) -> Place:
    for name in ("bad", "out"):
        (tmp_path / name).mkdir()
    return Place(inputs, tiny_model, tmp_path / "bad", tmp_path / "out")


def listing(*folders: Path) -> dict[Path, bytes | None]:
    files = [path for folder in folders for path in folder.rglob("*")]
    return {path: path.read_bytes() if path.is_file() else None for path in files}


def check(words: list[str], place: Place, named: str) -> None:
    before = listing(place.bad, place.out, place.inputs)
    result = runner.invoke(app, words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("mien: ")
    assert named in line
    assert "Traceback" not in line and "Error(" not in line
    assert len(line) < 500
    assert listing(place.bad, place.out, place.inputs) == before


@pytest.mark.usefixtures("drawn_reader")
@pytest.mark.parametrize("name", CASES)
def test_bad_inputs(name: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    words, named = CASES[name]
    check(words(place), place, named)
    assert not (place.bad / "code-was-run").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"reader": "eyes"}, "'eyes'"),
        ({"reader": "mediapipe"}, "mesh"),
        ({"reader": "mesh", "reader_model": "gone"}, "gone is no folder"),
        ({"reader_model": __file__}, "is no folder"),
        ({"reader": "nano"}, "the face reader 'nano' is gone: give auto"),
    ],
)
def test_bad_readers(changes: dict[str, str], named: str, place: Place) -> None:
    check(place.good(**changes), place, named)


def test_the_command_line_that_the_cases_change_works(place: Place, drawn_reader: DrawnFaceReader) -> None:
    result = runner.invoke(app, place.good(steps=1))
    assert result.exit_code == 0, result.output
    assert {path.name for path in place.out.iterdir()} == {"out.mp4", "out.json"}


def test_the_pickle_would_run_code(place: Place) -> None:
    pickle.loads(evil(place, "model.pth").read_bytes())
    assert (place.bad / "code-was-run").exists()
