"""Expressions over time without a driving video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.animation.animator import Animator, animator_of
from mien.animation.config import AnimationConfig
from mien.animation.driven_face import FaceMover
from mien.animation.expression_list import ListedMotion, listed_faces, load_list
from mien.animation.motion_transfer import portrait_motion
from mien.animation.source import find_portrait
from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES
from mien.media import write_image
from samples import DrawnFaceReader, draw_face, job_pipeline
from tiny_dex import tiny_dex_pipeline, tiny_dex_window_pipeline
from window_faces import drawn_basis, window_pipeline

SIDE = 96
JAW = EXPRESSION_NAMES.index("jawOpen")
LIST = """
fps: 10
expressions:
  - {at: 0}
  - {at: 0.4, jaw: 1.0, x: 0.1, zoom: 2.0}
  - {at: 0.8, blendshapes: {jawOpen: 0.25}}
"""
pytestmark = pytest.mark.usefixtures("drawn_person")


def write(folder: Path, text: str = LIST) -> Path:
    path = folder / "list.yaml"
    path.write_text(text, "utf-8")
    return path


def test_moments_come_at_their_times_and_go_over_into_each_other(tmp_path: Path) -> None:
    listed = load_list(write(tmp_path))
    assert (len(listed), listed.info.rate, listed.info.frames) == (9, 10, 9)
    motion, own = ListedMotion.read(listed, DrawnFaceReader()), np.zeros(52)
    rows = [motion.at(frame, own) for frame in range(9)]
    jaws = [scores[JAW] for _, scores in rows]
    assert (jaws[0], jaws[4], jaws[8]) == (0, 1, 0.25)
    assert np.all(np.diff(jaws[:5]) > 0) and np.all(np.diff(jaws[4:]) < 0)
    assert jaws[1] < 0.25, "it starts softly"
    assert rows[2][0].x == pytest.approx(0.05) and rows[2][0].zoom == pytest.approx(2**0.5)
    assert not rows[0][0].moves and not rows[8][0].moves
    even = load_list(write(tmp_path, "ease: false\n" + LIST))
    assert ListedMotion.read(even, DrawnFaceReader()).at(1, own)[1][JAW] == pytest.approx(0.25)


def test_a_last_moment_that_floats_round_down_is_played(tmp_path: Path) -> None:
    assert 1.16 * 25 < 29
    (tmp_path / "list.yaml").write_text("expressions: [{at: 0}, {at: 1.16, smile: 1}]")
    assert len(load_list(tmp_path / "list.yaml")) == 30


def test_where_nothing_changes_the_face_is_where_it_was_read(tmp_path: Path) -> None:
    portrait = find_portrait(Path("p.png"), draw_face(SIDE, SIDE), DrawnFaceReader(), None)
    mover = FaceMover(drawn_basis(), portrait_motion(portrait), portrait.crop)
    faces = listed_faces(mover, ListedMotion.read(load_list(write(tmp_path)), DrawnFaceReader()))
    np.testing.assert_allclose(faces[0].keypoints, mover.keypoints, atol=1e-3)
    assert np.abs(faces[4].keypoints - mover.keypoints).max() > 5


def test_a_picture_gives_its_expression(tmp_path: Path) -> None:
    write_image(tmp_path / "other.png", draw_face(SIDE, SIDE))
    text = "expressions: [{at: 0}, {at: 1, picture: other.png, gain: 0.5}]"
    reader = DrawnFaceReader()
    motion = ListedMotion.read(load_list(write(tmp_path, text)), reader)
    other = find_portrait(Path("o"), draw_face(SIDE, SIDE), reader, None).reading.expression
    np.testing.assert_allclose(motion.at(25, np.ones(52))[1], 1 + 0.5 * (other - 1))
    with pytest.raises(InputError, match=r"nobody\.png"):
        ListedMotion.read(load_list(write(tmp_path, "expressions: [{at: 0, picture: nobody.png}]")), reader)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("][", "is no YAML"),
        ("fps: 25", "no list named expressions"),
        ("expressions: []", "no list named expressions"),
        ("speed: 2\nexpressions: [{at: 0}]", "'speed', which is not known"),
        ("fps: fast\nexpressions: [{at: 0}]", "fps is 'fast'"),
        ("expressions: [smile]", "expression 1 is 'smile'"),
        ("expressions: [{smile: 1}]", "at is missing"),
        ("expressions: [{at: 0, grin: 1}]", "'grin', which is not known"),
        ("expressions: [{at: 0, smile: 3}]", "--smile is 3"),
        ("expressions: [{at: 0, blendshapes: {jaw: 1}}]", "--blendshape jaw is not known"),
        ("expressions: [{at: 1}, {at: 1}]", "sort them by time"),
        ("expressions: [{at: .inf}]", "at is inf"),
        ("expressions: [{at: 0, picture: 3}]", "picture is 3"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        load_list(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_the_first_release_s_word_for_blendshapes_is_read(tmp_path: Path) -> None:
    old = load_list(write(tmp_path, LIST.replace("blendshapes:", "scores:")))
    assert old.moments == load_list(write(tmp_path)).moments and old.moments[-1].change.blendshapes


@pytest.mark.parametrize("kind", ["window", "dex-window"])
def test_a_portrait_performs_a_list(kind: str, tmp_path: Path) -> None:
    made = {
        "window": window_pipeline,
        "dex-window": lambda: tiny_dex_window_pipeline(drawn_basis()),
    }
    animator = animator_of(made[kind](), DrawnFaceReader())
    frames = performed(animator, write(tmp_path))
    assert len(frames) == 9 and all(frame.shape == (SIDE, 2 * SIDE, 3) for frame in frames)
    assert np.abs(frames[4].astype(int) - frames[0]).max() > 30
    width = [np.flatnonzero((one[..., 0].astype(int) - one[..., 2] > 40).any(0)) for one in (frames[0], frames[4])]
    assert np.ptp(width[1]) > 1.4 * np.ptp(width[0])


def performed(animator: Animator, path: Path) -> list[np.ndarray]:
    config = animator.resolved(AnimationConfig())
    animator.set_source([draw_face(2 * SIDE, SIDE, (0.5, 0.5), 0.2)])
    return list(animator.frames(animator.read_list(load_list(path)), config))


def test_models_that_look_at_pixels_alone_refuse_a_list(tmp_path: Path) -> None:
    for pipe in (job_pipeline(), tiny_dex_pipeline()):
        animator = animator_of(pipe, DrawnFaceReader())
        with pytest.raises(InputError, match="moves by read landmarks"):
            animator.read_list(load_list(write(tmp_path)))
