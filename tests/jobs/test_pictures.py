"""Jobs with the pictures and videos that people bring: suffixes that lie or are missing, animations, HDR."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_samples import make_video
from mien.animation.face_edit import FaceChange
from mien.errors import InputError, OutputError
from mien.jobs.animate import animate
from mien.jobs.demo import FOLDER
from mien.jobs.edit import edit, edit_options
from mien.jobs.options import AnimateOptions
from mien.jobs.run.outputs import output_file
from mien.media import open_clip
from mien.media.kind import kind_of
from samples import BACKGROUND, DrawnFaceReader, draw_face, job_pipeline, talking_frames

PIPE = job_pipeline()


def run(tmp_path: Path, portrait: Path, driver: Path, output: str = "out.mp4", **more: object) -> Path:
    options = AnimateOptions(portraits=(portrait,), driver=driver, output=tmp_path / output, steps=1, **more)  # type: ignore[arg-type]
    return animate(options, pipe=PIPE, reader=DrawnFaceReader()).output


def save_animation(path: Path, suffix: str) -> Path:
    first, *rest = [Image.fromarray(frame) for frame in talking_frames(4)]
    path = path.with_suffix(suffix)
    first.save(path, save_all=True, append_images=rest, duration=[40, 40, 80, 40], lossless=True)
    return path


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animated_picture_drives(inputs: Path, tmp_path: Path, suffix: str) -> None:
    driver = save_animation(tmp_path / "driver", suffix)
    clip = open_clip(run(tmp_path, inputs / "portrait.png", driver))
    assert clip.count() == 4
    times = [time for _, time in clip.timed()]
    assert [round(float(time), 2) for time in times] == [0, 0.04, 0.08, 0.16]
    says = r"out\.png cannot be written: it would be one picture, but the driving video"
    with pytest.raises(OutputError, match=says):
        run(tmp_path, inputs / "portrait.png", driver, "out.png")


def test_of_an_animated_portrait_the_first_picture_is_taken_and_said(inputs: Path, tmp_path: Path) -> None:
    portrait = save_animation(tmp_path / "portrait", ".webp")
    options = AnimateOptions(portraits=(portrait,), driver=inputs / "driver.mp4", output=tmp_path / "out.mp4", steps=1)
    report = animate(options, pipe=PIPE, reader=DrawnFaceReader())
    assert f"{portrait} is an animation, of which the first picture is the portrait" in report.warnings[0]


@pytest.mark.parametrize("name", ["driver", "driver.jpg_large", "driver.mp4"])
def test_a_picture_by_any_name_gives_a_picture(inputs: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    driver = Path(shutil.copy(inputs / "driver.png", tmp_path / name))
    portrait = Path(shutil.copy(inputs / "portrait.png", tmp_path / "portrait.mov"))
    output = run(tmp_path, portrait, driver, "folder")
    assert output.name == "portrait--driver.png" and kind_of(output) == "image"


def test_a_video_by_a_picture_s_name_gives_a_video(inputs: Path, tmp_path: Path) -> None:
    driver = Path(shutil.copy(inputs / "driver.mp4", tmp_path / "driver.jpg"))
    (tmp_path / "folder").mkdir()
    output = run(tmp_path, inputs / "portrait.png", driver, "folder")
    assert output.name == "portrait--driver.mp4" and open_clip(output).count() == 9 and open_clip(output).info.has_audio


@pytest.mark.parametrize("name", ["noext", "photo.jpg_large", "photo.mp4"])
def test_an_edited_picture_has_its_record_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    portrait = Path(shutil.copy(FOLDER / "portrait_1.png", tmp_path / name))
    options = edit_options(portrait=portrait, output=tmp_path / "out.png", change=FaceChange(yaw=5.0), device="cpu")
    report = edit(options)
    assert report.record is not None
    record = json.loads(report.record.read_text(encoding="utf-8"))
    assert record["frames"] == 1 and not record["audio"]


def test_a_video_is_no_picture_to_be_edited(inputs: Path, tmp_path: Path) -> None:
    driver = Path(shutil.copy(inputs / "driver.mp4", tmp_path / "face.jpg"))
    options = edit_options(portrait=driver, output=tmp_path / "out.png", change=FaceChange(yaw=5.0), device="cpu")
    with pytest.raises(InputError, match=r"face\.jpg is a video, but one picture is needed here"):
        edit(options, reader=DrawnFaceReader())
    assert not (tmp_path / "out.png").exists()


def test_the_preview_of_an_hdr_driver_shows_its_colours(inputs: Path, tmp_path: Path) -> None:
    """The drawn face in HLG: skin and background come out as drawn, in the driver's panel."""
    drawn = draw_face(96, 80)
    drawn[(drawn == BACKGROUND).all(2)] = (120, 140, 190)  # as bright as pictures are
    light = (drawn / 255.0) ** 2.4
    scene = light ** (1 / 1.2)
    curved = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    codes = np.rint(65535 * np.where(scene <= 1 / 12, np.sqrt(3 * scene), curved)).astype(np.uint16)
    driver = make_video(
        tmp_path / "phone.mov",
        [codes] * 3,
        Fraction(25),
        codec="libx265",
        pixel_format="yuv420p10le",
        layout="rgb48le",
        tags={"color_trc": 18, "color_primaries": 1, "colorspace": 1, "color_range": 1},
        scaling={"dst_colorspace": 1, "src_color_range": "JPEG", "dst_color_range": "MPEG"},
    )
    output = run(tmp_path, inputs / "portrait.png", driver, preview=True)
    (panel, *_) = [frame for frame in open_clip(output.with_name("out.preview.mp4"))]
    height = panel.shape[0]
    shown = panel[:, : round(96 / 80 * height / 2) * 2].astype(float)
    assert np.abs(shown.mean((0, 1)) - drawn.mean((0, 1))).max() < 5
    assert np.abs(shown[2:6, 2:6].mean((0, 1)) - drawn[0, 0]).max() < 6


def test_the_place_of_a_result(tmp_path: Path) -> None:
    def place(output: Path, still: bool = False) -> Path:
        options = AnimateOptions(portraits=(Path("p.jpg"),), driver=Path("d.mp4"), output=output)
        return output_file(options, still)

    assert place(tmp_path) == tmp_path / "p--d.mp4" and place(tmp_path, still=True) == tmp_path / "p--d.png"
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken is a file, so results cannot go into a folder of that name"):
        place(tmp_path / "taken")
    with pytest.raises(OutputError, match="standard output"):
        place(Path("-"))
