from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mien.avatars import expressions
from mien.avatars.head_model import TONGUE, HeadModel
from mien.avatars.motion import Track, generated_track, load_tracks, measure_track, performed, save_tracks
from mien.avatars.performances import CLIPS, PerformanceLimits, make_performance
from mien.errors import InputError
from mien.media import write_video


def track(name: str = "a", frames: int = 40) -> Track:
    rng = np.random.default_rng(0)
    return Track(
        name,
        25.0,
        rng.normal(size=(frames, 3)).astype(np.float32) * 8,
        np.tile(np.array([0, 0, 1], np.float32), (frames, 1)),
        rng.uniform(0, 0.6, (frames, 57)).astype(np.float32),
        np.ones(frames, bool),
    )


def test_every_named_expression_exists(model: HeadModel) -> None:
    seen = {name: expressions.named(model, name) for name in expressions.NAMED}
    assert len(seen) >= 42
    assert not seen["neutral"].any()
    assert all(face.any() and face.max() <= 1 for name, face in seen.items() if name != "neutral")
    wink = seen["blink left"]
    assert wink[model.index("eyeBlink_L")] == 1 and wink[model.index("eyeBlink_R")] == 0
    angles = model.gaze_angles(seen["crossed eyes"])
    assert angles[0, 0] < -30 and angles[1, 0] > 30, "each eye turns to the nose"


def test_random_expressions_open_mouths_and_close_eyes(model: HeadModel) -> None:
    rng = np.random.default_rng(1)
    faces = np.stack([expressions.random_expression(model, rng) for _ in range(400)])
    assert faces.min() >= 0 and faces.max() <= 1
    assert 0.2 < (faces[:, model.index("jawOpen")] > 0.4).mean() < 0.5
    both = faces[:, [model.index("eyeBlink_L"), model.index("eyeBlink_R")]].min(1) > 0.8
    assert 0.2 < both.mean() < 0.45


def test_gaze_is_one_direction_for_both_eyes(model: HeadModel) -> None:
    face = model.coefficients()
    expressions.set_gaze(model, face, -0.5, 0.25)
    angles = model.gaze_angles(face)
    assert angles[:, 0] == pytest.approx([-17.5, -17.5])
    assert angles[:, 1] == pytest.approx([7, 7])


def test_generated_tracks_are_smooth_and_blink(model: HeadModel) -> None:
    made = generated_track(model, np.random.default_rng(2), 100, 25.0, widest=45)
    assert np.abs(np.diff(made.angles, axis=0)).max() < 25
    assert np.abs(made.angles[:, 0]).max() <= 45
    assert made.expression[:, model.index("eyeBlink_L")].max() == 1
    assert made.expression[:, model.index("jawOpen")].std() > 0.05
    again = generated_track(model, np.random.default_rng(2), 100, 25.0, widest=45)
    assert np.array_equal(made.expression, again.expression)


def test_named_expressions_follow_one_another(model: HeadModel) -> None:
    shown = expressions.through(model, ["smile", "pout"], 12)
    assert shown.shape == (24, 57)
    assert not shown[0].any() and not shown[12].any()
    assert shown[6] == pytest.approx(expressions.named(model, "smile"))


def test_a_library_is_written_and_read(model: HeadModel, tmp_path: Path) -> None:
    path = save_tracks(tmp_path / "m.safetensors", [track("b"), track("a")], model.names)
    back = load_tracks(path)
    assert [t.name for t in back] == ["a", "b"] and back[0].rate == 25
    assert np.array_equal(back[0].expression, track("a").expression)
    assert back[0].motion(3).yaw == pytest.approx(float(track("a").angles[3, 0]))
    with pytest.raises(InputError, match="two tracks are called a"):
        save_tracks(path, [track("a"), track("a")], model.names)
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_tracks(tmp_path / "x.safetensors")


def test_a_performance_is_the_seeds(model: HeadModel) -> None:
    library = [track()]
    first, second = (make_performance(model, np.random.default_rng(7), library) for _ in range(2))
    assert len(first) == 64 and np.array_equal(first.expression, second.expression)
    assert first.kind == second.kind and first.kind[1].startswith("measured:a:")
    for begin, end in CLIPS:
        assert len(set(first.kind[begin:end])) == 1
    limits = PerformanceLimits()
    assert (np.abs(first.angles) <= [limits.yaw, limits.pitch, limits.roll]).all()
    assert not first.expression[:, TONGUE + 1 :].any()
    alone = make_performance(model, np.random.default_rng(7), [])
    assert set(alone.kind[:32]) == {"random"}


def test_a_short_track_swings_back() -> None:
    frames = track(frames=5).lively_stretch(np.random.default_rng(0), 16, 2)
    assert len(frames) == 16 and frames.max() < 5


def test_a_clip_is_measured(model: HeadModel, tmp_path: Path) -> None:
    from samples import DrawnFaceReader, draw_face

    pictures = [draw_face(centre=(0.4 + 0.02 * step, 0.5), mouth=step / 4) for step in range(4)]
    clip = write_video(tmp_path / "clip.mp4", pictures, rate=Fraction(25))
    measured = measure_track(model, DrawnFaceReader(), clip if isinstance(clip, Path) else tmp_path / "clip.mp4")
    assert len(measured) == 4 and measured.seen.all() and measured.name == "clip"
    assert measured.place[:, :2].mean(0) == pytest.approx([0, 0], abs=1e-6)
    write_video(tmp_path / "dark.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, rate=Fraction(25))
    with pytest.raises(InputError, match="shows no face"):
        measure_track(model, DrawnFaceReader(), tmp_path / "dark.mp4")


def test_avatars_show_what_was_read(model: HeadModel) -> None:
    """Lips that a pucker would part are closed, and an open jaw that a smile would hide is opened further."""
    pucker, smile, jaw = (
        model.coefficients(**amounts)
        for amounts in ({"mouthPucker": 1.0}, {"mouthSmile": 0.8, "jawOpen": 0.3}, {"jawOpen": 0.3})
    )
    shut = model.coefficients(jawOpen=0.4, mouthClose=0.3)
    shown = performed(model, np.stack([pucker, smile, jaw, model.coefficients(), shut]))
    index = model.index
    assert shown[0, index("mouthClose")] > 0.05 and shown[0, index("jawOpen")] == 0
    assert shown[1, index("jawOpen")] > shown[2, index("jawOpen")] == pytest.approx(0.3)
    assert np.array_equal(shown[3], model.coefficients())
    assert shown[0, index("mouthPucker")] == 1
    assert shown[4, index("mouthClose")] == pytest.approx(0.15), "the shape shuts the lips at half the jaw's amount"
