"""`mien edit`: the bundled model shows a still with another pose and expression."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.animation.face_edit import FaceChange
from mien.animation.image_edit import StillEditor, still_editor
from mien.animation.loading import load_pipeline
from mien.animation.source import find_portrait
from mien.errors import InputError, OutputError
from mien.faces import EXPRESSION_NAMES, FaceReader, load_face_reader
from mien.jobs.edit import edit, edit_options
from mien.jobs.report import AnimateReport
from mien.media import read_image
from mien.pipelines.x_portrait import XPortraitPipeline
from samples import RENDERED, DrawnFaceReader, job_pipeline

PORTRAIT = RENDERED / "portrait_1.png"


@pytest.fixture(scope="module")
def pipe() -> XPortraitPipeline:
    return load_pipeline("nano", device="cpu")


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    return load_face_reader()


@pytest.fixture(scope="module")
def editor(pipe: XPortraitPipeline, reader: FaceReader) -> StillEditor:
    return still_editor(pipe, find_portrait(PORTRAIT, read_image(PORTRAIT), reader, None))


def seen(editor: StillEditor, reader: FaceReader, **wishes: float) -> Any:
    reading = reader.read(editor.picture(FaceChange(**wishes)))
    assert reading is not None
    return reading


def test_the_head_goes_where_the_sliders_say(editor: StillEditor, reader: FaceReader) -> None:
    own = editor.portrait.reading
    for name in ("yaw", "pitch", "roll"):
        turns = [getattr(seen(editor, reader, **{name: angle}).pose, name) for angle in (-12.0, 12.0)]
        assert turns[0] + 5 < getattr(own.pose, name) < turns[1] - 5, name
    middle = own.landmarks.mean(0)
    moved = seen(editor, reader, x=0.06).landmarks.mean(0) - middle
    assert moved[0] == pytest.approx(0.06 * editor.portrait.crop.size, rel=0.35)
    larger = seen(editor, reader, zoom=1.15).landmarks
    assert np.ptp(larger, 0)[0] == pytest.approx(1.15 * np.ptp(own.landmarks, 0)[0], rel=0.05)


@pytest.mark.parametrize(("slider", "shape"), [("smile", "mouthSmileLeft"), ("jaw", "jawOpen")])
def test_the_mouth_does_what_the_sliders_say(editor: StillEditor, reader: FaceReader, slider: str, shape: str) -> None:
    place = EXPRESSION_NAMES.index(shape)
    before, after = (seen(editor, reader, **{slider: value}).expression[place] for value in (0.0, 1.0))
    assert after > before + 0.25


def test_eyes_close_and_brows_rise(editor: StillEditor, reader: FaceReader) -> None:
    def opening(**wishes: float) -> float:
        points = seen(editor, reader, **wishes).landmarks
        return float(points[[41, 40, 47, 46], 1].mean() - points[[37, 38, 43, 44], 1].mean())

    def brows(**wishes: float) -> float:
        points = seen(editor, reader, **wishes).landmarks
        return float(points[36:48, 1].mean() - points[17:27, 1].mean())

    assert 1.08 * opening(blink=1.0) < opening() < opening(blink=-1.0)
    assert brows(brows=1.0) > 1.1 * brows()


def test_without_a_change_the_portrait_comes_back_as_it_is(editor: StillEditor) -> None:
    assert editor.picture(FaceChange()) is editor.portrait.image
    turned = editor.picture(FaceChange(yaw=10))
    corner = np.s_[:4, :4]
    assert np.abs(turned[corner].astype(int) - editor.portrait.image[corner]).max() < 12


def test_the_job_writes_the_picture_and_its_record(
    pipe: XPortraitPipeline, reader: FaceReader, editor: StillEditor, tmp_path: Path
) -> None:
    options = edit_options(portrait=PORTRAIT, output=tmp_path / "out.png", change=FaceChange(smile=1, yaw=8))
    report = edit(options, pipe=pipe, reader=reader)
    assert read_image(report.output).shape == read_image(PORTRAIT).shape
    record = json.loads((tmp_path / "out.json").read_text())
    assert (record["options"]["change"]["smile"], record["options"]["device"]) == (1, "cpu")
    bare = edit_options(portrait=PORTRAIT, output=tmp_path / "b.png", change=FaceChange(smile=1), paste_back=False)
    side = round(editor.portrait.crop.size)  # layers keep the portrait's own size
    assert read_image(edit(bare, pipe=pipe, reader=reader).output).shape == (side, side, 3)


def test_the_expression_of_another_picture_is_taken_over(
    pipe: XPortraitPipeline, reader: FaceReader, editor: StillEditor, tmp_path: Path
) -> None:
    from mien.media import write_image

    laughing = write_image(tmp_path / "other.png", editor.picture(FaceChange(jaw=1)))
    jaw = EXPRESSION_NAMES.index("jawOpen")
    opened = []
    for gain in (0.2, 1.0):
        options = edit_options(
            portrait=PORTRAIT,
            output=tmp_path / "out.png",
            change=FaceChange(),
            expression_from=laughing,
            expression_gain=gain,
        )
        report: AnimateReport = edit(options, pipe=pipe, reader=reader)
        reading = reader.read(read_image(report.output))
        assert reading is not None
        opened.append(reading.expression[jaw])
    assert opened[1] > opened[0] + 0.2


def test_mistakes_are_told(pipe: XPortraitPipeline, inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is to change"):
        edit_options(portrait=PORTRAIT, output=tmp_path / "out.png", change=FaceChange())
    with pytest.raises(InputError, match="--face all is for mien animate"):
        edit_options(portrait=PORTRAIT, output=tmp_path / "o.png", change=FaceChange(yaw=1), face="all")
    given = {"portrait": inputs / "portrait.png", "change": FaceChange(yaw=5)}
    with pytest.raises(OutputError, match="is one of the inputs"):
        edit(edit_options(output=inputs / "portrait.png", **given), pipe=pipe, reader=DrawnFaceReader())
    with pytest.raises(InputError, match="does not move by read landmarks"):
        edit(edit_options(output=tmp_path / "o.png", **given), pipe=job_pipeline(), reader=DrawnFaceReader())
    assert not list(tmp_path.iterdir())
