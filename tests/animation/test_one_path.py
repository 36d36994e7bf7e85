"""Every way in gives the same frames: the command, Python, the ComfyUI nodes, the web UI's jobs, `mien evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integrations"))

from comfyui_host import Host

import mien
from mien.animation.animator import load_animator
from mien.animation.config import AnimationConfig
from mien.cli.app import app
from mien.errors import InputError
from mien.evaluation.footage import Case
from mien.jobs.evaluation_systems import SystemSpec, load_system
from mien.media import VideoWriter, open_clip, read_image, write_image, write_video
from mien.models.face_vid2vid import FaceVid2Vid
from mien.pipelines.face_vid2vid import FaceVid2VidPipeline
from mien.web.options import ServeOptions
from mien.web.running import Watch
from mien.web.studio import Studio
from mien.web.workspace import Workspace
from samples import DrawnFaceReader, draw_face, job_pipeline
from tiny_dex import tiny_dex_pipeline
from tiny_face_vid2vid import TINY_F
from window_faces import DrawnPersonMask, window_pipeline

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
SIDE, FRAMES = 96, 9
LIMITS = (0.15, 0.15, 0.1)  # how far a head may go: the shipped models have such limits, so these must have them too
MAKERS: dict[str, Callable[[], Any]] = {
    "x": job_pipeline,
    "window": window_pipeline,  # X-Portrait for face windows, as nano
    "dex": tiny_dex_pipeline,
}
Frames = np.ndarray


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind, a portrait, and a driver whose head is elsewhere than the portrait's."""
    folder = tmp_path_factory.mktemp("one_path")
    for name, make in MAKERS.items():
        pipe = make()
        pipe.register_to_config(motion_limits=LIMITS)
        pipe.save_pretrained(folder / name)
    write_image(folder / "portrait.png", draw_face(SIDE, SIDE))
    centres = [(0.36 + 0.03 * index, 0.58) for index in range(FRAMES)]
    faces = [draw_face(SIDE, SIDE, c, 0.3, abs(np.sin(i)) if i else 0.0) for i, c in enumerate(centres)]
    write_video(folder / "driver.mp4", faces, 25)
    return folder


@pytest.fixture(autouse=True)
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())
    monkeypatch.setattr("mien.animation.cutting.PersonMask", DrawnPersonMask)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Frames]:
    """The frames that jobs write, as they are before a codec sees them."""
    frames: list[Frames] = []
    write = VideoWriter.write

    def noted(writer: VideoWriter, frame: Frames, *more: Any) -> None:
        frames.append(frame.copy())
        write(writer, frame, *more)

    monkeypatch.setattr(VideoWriter, "write", noted)
    return frames


def taken(frames: list[Frames]) -> Frames:
    """What was written since the last time."""
    made = np.stack(frames)
    frames.clear()
    return made


def by_command(place: Path, model: str, written: list[Frames], output: Path, *more: str) -> Frames:
    words = [
        "animate",
        "-s",
        place / "portrait.png",
        "-d",
        place / "driver.mp4",
        "--model",
        place / model,
        "-o",
        output,
    ]
    with pytest.raises(SystemExit) as left:
        app([str(word) for word in (*words, *more)])
    assert not left.value.code
    return taken(written)


def options(place: Path, model: str, output: Path) -> mien.AnimateOptions:
    return mien.AnimateOptions((place / "portrait.png",), place / "driver.mp4", output, model=str(place / model))


def by_python(place: Path, model: str, written: list[Frames], output: Path) -> Frames:
    mien.animate(options(place, model, output))
    return taken(written)


def by_animator(place: Path, model: str) -> Frames:
    animator = load_animator(str(place / model))
    config = AnimationConfig()
    animator.set_source([read_image(place / "portrait.png")])
    motion = animator.read_driving(open_clip(place / "driver.mp4"), config)
    return np.stack(list(animator.frames(motion, config)))


def by_web(place: Path, model: str, written: list[Frames], folder: Path) -> Frames:
    folder.mkdir()
    serve = ServeOptions(model=str(place / model), folder=folder)
    space = Workspace(folder, 10)
    given = options(place, model, space.result_folder() / "out.mp4")
    inside = space.result_folder()
    for name in ("portrait.png", "driver.mp4"):
        (inside / name).write_bytes((place / name).read_bytes())
    given = replace(given, portraits=(inside / "portrait.png",), driver=inside / "driver.mp4")
    Studio(serve, space).animate(given, Watch(600))
    return taken(written)


def by_evaluation(place: Path, model: str, protocol: str = "cross", expression: str = "driver.mp4") -> Frames:
    driver, other = (np.stack(list(open_clip(place / name))) for name in ("driver.mp4", expression))
    drivers = (driver, driver if expression == "driver.mp4" else other)
    case = Case("a", protocol, read_image(place / "portrait.png"), *drivers)
    kind = {"dex": "dex", "f": "face-vid2vid"}.get(model, "x-portrait")
    system = load_system(SystemSpec("mine", kind, str(place / model)))
    return system.animate(case)


def by_node(place: Path, model: str, host: Host) -> Frames:
    """The squares of the node's IMAGE, as uint8."""
    nodes = host.nodes
    (loaded,) = call(nodes["MienLoadModel"], model=model, precision="auto", reader="auto", offload=False)
    driver = torch.from_numpy(np.stack(list(open_clip(place / "driver.mp4"))).astype(np.float32) / 255)
    picture = torch.from_numpy(read_image(place / "portrait.png").astype(np.float32) / 255)[None]
    portrait = call(nodes["MienSetPortrait"], model=loaded, image=picture, face=0)[0]
    given = {"seed": 0, "steps": 0, "guidance": -1.0, "best_frame": -1, "align": True}
    (squares,) = call(nodes["MienAnimate"], portrait=portrait, driver=driver, **given)
    return (squares * 255).round().byte().numpy()


def call(node: Any, **inputs: Any) -> Any:
    """A node's function by its own name for it."""
    if hasattr(node, "FUNCTION"):
        return getattr(node(), node.FUNCTION)(**inputs)
    return node.execute(**inputs).args


@pytest.fixture
def host(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    (tmp_path / "comfyui").mkdir()
    made = Host(tmp_path / "comfyui", monkeypatch)
    (made.models / "mien").symlink_to(place)
    made.load(PACK)
    return made


def test_face_vid2vid_stands_behind_the_same_animator(place: Path, tmp_path: Path, written: list[Frames]) -> None:
    torch.manual_seed(0)
    FaceVid2VidPipeline(FaceVid2Vid.of(TINY_F).eval()).save_pretrained(place / "f")
    whole = by_command(place, "f", written, tmp_path / "command.mp4")
    assert whole.shape == (FRAMES, SIDE, SIDE, 3)
    np.testing.assert_array_equal(by_animator(place, "f"), whole)
    np.testing.assert_array_equal(by_python(place, "f", written, tmp_path / "python.mp4"), whole)
    np.testing.assert_array_equal(by_evaluation(place, "f"), whole)
    with pytest.raises(InputError, match="--steps is for other models"):
        mien.animate(replace(options(place, "f", tmp_path / "out.mp4"), steps=3))


@pytest.mark.parametrize("model", list(MAKERS))
def test_every_way_in_gives_the_same_frames(
    place: Path, model: str, tmp_path: Path, written: list[Frames], host: Host
) -> None:
    whole = by_command(place, model, written, tmp_path / "command.mp4")
    squares = by_command(place, model, written, tmp_path / "squares.mp4", "--no-paste-back")
    assert whole.shape == (FRAMES, SIDE, SIDE, 3)
    assert np.abs(np.diff(whole.astype(int), axis=0)).mean() > 0.05, "it moves"
    ways = {
        "python": by_python(place, model, written, tmp_path / "python.mp4"),
        "animator": by_animator(place, model),
        "web UI": by_web(place, model, written, tmp_path / "web"),
        "evaluation": by_evaluation(place, model),
    }
    differ = {name: int(np.abs(made.astype(int) - whole).max()) for name, made in ways.items()}
    differ["node"] = int(np.abs(by_node(place, model, host).astype(int) - squares).max())
    assert differ == dict.fromkeys(differ, 0)


@pytest.mark.parametrize("model", ["x", "dex"])
def test_self_reenactment_is_scored_as_the_command_makes_it(
    place: Path, model: str, tmp_path: Path, written: list[Frames]
) -> None:
    """The options that the protocol sets are options of the command, and it sets no others."""
    more = ("--best-frame", "0", *(["--relative"] if model == "dex" else []))
    whole = by_command(place, model, written, tmp_path / "command.mp4", *more)
    np.testing.assert_array_equal(by_evaluation(place, model, "self"), whole)


def test_pose_and_expression_apart_are_scored_as_the_command_makes_them(
    place: Path, tmp_path: Path, written: list[Frames]
) -> None:
    faces = [draw_face(SIDE, SIDE, (0.5, 0.5), 0.28, 0.9 * (index % 2)) for index in range(FRAMES)]
    write_video(place / "talking.mp4", faces, 25)
    written.clear()
    words = ["animate", "-s", place / "portrait.png", "--pose-from", place / "driver.mp4"]
    words += ["--expression-from", place / "talking.mp4", "--model", place / "dex", "-o", tmp_path / "command.mp4"]
    with pytest.raises(SystemExit) as left:
        app([str(word) for word in words])
    assert not left.value.code
    whole = taken(written)
    assert (whole != by_command(place, "dex", written, tmp_path / "one.mp4")).any()
    np.testing.assert_array_equal(by_evaluation(place, "dex", "disentangled", "talking.mp4"), whole)
