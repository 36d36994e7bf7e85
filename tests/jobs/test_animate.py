from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.diffusion import streaming_sampler
from mien.errors import InputError, OutputError
from mien.jobs.animate import animate
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from mien.media import VideoWriter, open_clip, read_alpha, read_image, write_image, write_video
from samples import RATE, DrawnFaceReader, draw_face, job_pipeline, talking_frames

PIPE = job_pipeline()


def run(inputs: Path, output: Path, progress: Any = None, **changes: Any) -> AnimateReport:
    given = {"portraits": (inputs / "portrait.png",), "driver": inputs / "driver.mp4", "output": output, **changes}
    return animate(AnimateOptions(**given), progress, pipe=PIPE, reader=DrawnFaceReader())


def pictures(path: Path) -> list[np.ndarray]:
    return list(open_clip(path))


def test_the_result_has_the_drivers_time_base_and_sound_and_the_portraits_size(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4")
    clip = open_clip(report.output)
    assert (clip.info.rate, clip.count(), clip.info.has_audio) == (RATE, 9, True)
    assert (clip.info.width, clip.info.height) == (62, 54)  # 61 x 53, made even for 4:2:0
    assert report.size == (61, 53)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.mp4"]


def test_the_record_holds_every_resolved_option(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "out.mp4", seed=5)
    record = json.loads((tmp_path / "out.json").read_text())
    options = record["options"]
    assert set(options) == set(AnimateOptions.__dataclass_fields__)
    assert (options["steps"], options["guidance"], options["window"], options["overlap"]) == (2, 2.0, 8, 2)
    assert (options["seed"], options["device"], options["dtype"], options["reader"]) == (5, "cpu", "float32", "drawn")
    assert record["faces"] == {"frames": 9, "found": 9, "interpolated": 0, "held": 0, "missing": 0, "longest_gap": 0}
    assert record["best_frame"] == 0
    assert (record["rate"], record["frames"]) == ("30000/1001", 9)
    assert sum(record["time_shares"].values()) == pytest.approx(1, abs=0.01)
    assert record["packages"]["torch"]


def test_the_same_seed_gives_the_same_video_and_another_one_does_not(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared as they go to the encoder, which makes visible steps of what arithmetic on other cores rounds apart."""
    written: list[np.ndarray] = []
    write = VideoWriter.write

    def record(writer: VideoWriter, frame: np.ndarray, *time: Any) -> None:
        written.append(frame.astype(int))
        write(writer, frame, *time)

    monkeypatch.setattr(VideoWriter, "write", record)
    for name, seed in (("a.mp4", 1), ("b.mp4", 1), ("c.mp4", 2)):
        run(inputs, tmp_path / name, seed=seed, paste_back=False)
    first, again, other = np.split(np.stack(written), 3)
    assert np.abs(first - again).max() <= 1
    assert np.abs(first - other).mean() > 1


def test_fast_changes_the_sampler_of_a_given_pipeline_for_this_run_alone(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, advance, used = PIPE.scheduler, streaming_sampler.advance, set()

    def watched(scheduler: Any, *more: Any) -> Any:
        used.add(type(scheduler).__name__)
        return advance(scheduler, *more)

    monkeypatch.setattr(streaming_sampler, "advance", watched)
    report = run(inputs, tmp_path / "fast.mp4", fast=True)
    assert used == {"LCMScheduler"} and report.options.guidance == 1.0
    assert PIPE.scheduler is own
    with pytest.raises(InputError, match="no face"):
        run(inputs, tmp_path / "none.mp4", fast=True, driver=inputs / "faceless.mp4")
    assert PIPE.scheduler is own


def test_every_option_of_the_sampling_reaches_the_pipeline(inputs: Path, tmp_path: Path) -> None:
    seen = [np.stack(pictures(run(inputs, tmp_path / "plain.mp4", window=4, paste_back=False).output)).astype(int)]
    for changes in (
        {"steps": 3},
        {"guidance": 1.0},
        {"window": 6},
        {"overlap": 0},
        {"align": False},
        {"best_frame": 3},
    ):
        result = run(inputs, tmp_path / "changed.mp4", **{"window": 4, "paste_back": False, **changes})
        seen.append(np.stack(pictures(result.output)).astype(int))
        assert min(np.abs(seen[-1] - earlier).mean() for earlier in seen[:-1]) > 0.2, changes


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 10])
def test_any_length(inputs: Path, tmp_path: Path, count: int) -> None:
    driver = write_video(tmp_path / "driver.mp4", talking_frames(count), 25)
    report = run(inputs, tmp_path / "out.mp4", driver=driver)
    assert open_clip(report.output).count() == report.frames == count


def test_outside_the_crop_the_portrait_stays(inputs: Path, tmp_path: Path) -> None:
    image = draw_face(300, 200, (0.3, 0.5), 0.15)
    image[:, 200:] = np.random.default_rng(0).integers(90, 110, (200, 100, 3))
    portrait = write_image(tmp_path / "wide.png", image)
    report = run(inputs, tmp_path / "out.mp4", portraits=(portrait,))
    frames = pictures(report.output)
    assert frames[0].shape == image.shape
    assert np.abs(frames[4][:, 200:].astype(int) - image[:, 200:]).mean() < 6
    assert np.abs(frames[4][60:140, 50:130].astype(int) - image[60:140, 50:130]).mean() > 10


def test_a_bare_square(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4", paste_back=False)
    assert report.size == (32, 32)
    assert pictures(report.output)[0].shape == (32, 32, 3)


def test_the_preview_shows_driver_portrait_and_result(inputs: Path, tmp_path: Path) -> None:
    portrait = write_image(tmp_path / "p.png", draw_face(120, 100))
    report = run(inputs, tmp_path / "out.mp4", portraits=(portrait,), preview=True)
    assert report.preview == tmp_path / "out.preview.mp4"
    clip, frame = open_clip(report.preview), pictures(report.preview)[8]
    assert (clip.count(), clip.info.rate, clip.info.has_audio) == (9, RATE, True)
    assert frame.shape == (100, 120 + 120 + 120, 3)
    middle = frame[:, 120:240].astype(int)
    assert np.abs(middle - read_image(portrait)).mean() < 6
    driver = read_image_like(pictures(inputs / "driver.mp4")[8], 120, 100)
    assert np.abs(frame[:, :120].astype(int) - driver).mean() < 6
    assert np.abs(frame[:, 240:].astype(int) - pictures(report.output)[8]).mean() < 6


def read_image_like(image: np.ndarray, width: int, height: int) -> np.ndarray:
    from mien.animation.compositing import fit

    return fit(image, width, height).astype(int)


def test_several_portraits_change_the_result(inputs: Path, tmp_path: Path) -> None:
    one = pictures(run(inputs, tmp_path / "one.mp4", paste_back=False).output)
    both = (inputs / "portrait.png", inputs / "portrait_2.png")
    two = pictures(run(inputs, tmp_path / "two.mp4", paste_back=False, portraits=both).output)
    assert np.abs(np.stack(one).astype(int) - np.stack(two)).mean() > 0.2


def test_an_image_drives_an_image(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.png", driver=inputs / "driver.png", preview=True)
    assert read_image(report.output).shape == (53, 61, 3)
    assert report.preview is not None
    assert read_image(report.preview).shape[0] == 52
    assert (tmp_path / "out.json").is_file()


def test_an_image_drives_a_video_of_one_frame(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4", driver=inputs / "driver.png", fps=Fraction(10))
    clip = open_clip(report.output)
    assert (clip.count(), clip.info.rate) == (1, 10)


def test_a_folder_of_images_drives(inputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    for index, frame in enumerate(talking_frames(3)):
        write_image(folder / f"frame{index}.png", frame)
    clip = open_clip(run(inputs, tmp_path / "out.mkv", driver=folder, fps=Fraction(12)).output)
    assert (clip.count(), clip.info.rate) == (3, 12)


def test_uneven_times_are_kept(inputs: Path, tmp_path: Path) -> None:
    times = [Fraction(t, 100) for t in (0, 4, 12, 13, 40)]
    driver = write_video(tmp_path / "vfr.mp4", talking_frames(5), 25, times=times)
    report = run(inputs, tmp_path / "out.mp4", driver=driver)
    written = [time for _, time in open_clip(report.output).timed()]
    assert [float(t) for t in written] == pytest.approx([float(t) for t in times], abs=2e-3)


def test_a_name_is_made_up_inside_a_folder(inputs: Path, tmp_path: Path) -> None:
    assert run(inputs, tmp_path).output == tmp_path / "portrait--driver.mp4"
    assert (
        run(inputs, tmp_path / "new", driver=inputs / "driver.png").output == tmp_path / "new" / "portrait--driver.png"
    )


def test_a_portrait_with_alpha_is_accepted(inputs: Path, tmp_path: Path) -> None:
    rgba = np.dstack([draw_face(80, 80), np.full((80, 80), 255, np.uint8)])
    rgba[:8, :, 3] = 0
    portrait = write_image(tmp_path / "alpha.png", rgba)
    assert read_alpha(portrait) is not None
    assert run(inputs, tmp_path / "out.mp4", portraits=(portrait,)).size == (80, 80)


def test_start_frames_change_the_result_and_must_fit(inputs: Path, tmp_path: Path) -> None:
    plain = pictures(run(inputs, tmp_path / "plain.mp4", paste_back=False).output)
    noise = np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), dtype=np.uint8)
    start = write_video(tmp_path / "start.mp4", noise, RATE)
    started = pictures(run(inputs, tmp_path / "out.mp4", start_from=start, paste_back=False).output)
    assert np.abs(np.stack(plain).astype(int) - np.stack(started)).mean() > 0.2
    with pytest.raises(InputError, match="3 frames, but the driving video"):
        run(inputs, tmp_path / "x.mp4", start_from=inputs / "faceless.mp4")
    oblong = write_video(tmp_path / "oblong.mp4", noise[:, :32], RATE)
    with pytest.raises(InputError, match="64 x 32"):
        run(inputs, tmp_path / "x.mp4", start_from=oblong)


def test_lost_frames_are_reported_not_fatal(inputs: Path, tmp_path: Path) -> None:
    frames = talking_frames(6)
    frames[2] = np.full_like(frames[2], 60)
    driver = write_video(tmp_path / "driver.mp4", frames, 25)
    report = run(inputs, tmp_path / "out.mp4", driver=driver)
    assert report.faces is not None
    assert (report.faces.found, report.faces.interpolated) == (5, 1)


def test_a_dry_run_writes_nothing(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path / "out.mp4", dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert report.options.steps == 2
    assert report.cost.flops > 1e6
    twice = run(inputs, tmp_path / "out.mp4", dry_run=True, steps=8)
    assert twice.cost.flops > 2 * report.cost.flops


def test_a_dry_run_reads_the_configs_alone(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = job_pipeline()
    pipe.save_pretrained(tmp_path / "model")
    whole = run(inputs, tmp_path / "out.mp4", dry_run=True)
    monkeypatch.setattr("mien.pipelines.loading._own", lambda *_: pytest.fail("weights were read"))
    given = {"portraits": (inputs / "portrait.png",), "driver": inputs / "driver.mp4", "output": tmp_path / "out.mp4"}
    given |= {"device": "cpu", "dtype": "float32"}
    options = AnimateOptions(**given, model=str(tmp_path / "model"), dry_run=True)
    planned = animate(options, reader=DrawnFaceReader())
    assert planned.cost == whole.cost and planned.size == whole.size
    assert (planned.options.steps, planned.options.device, planned.options.dtype) == (2, "cpu", "float32")
    smaller = animate(replace(options, quantize="fp8"), reader=DrawnFaceReader())
    assert smaller.cost.parts["weights"] < planned.cost.parts["weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_fast_without_lcm_weights_says_what_it_does(inputs: Path, tmp_path: Path) -> None:
    (said,) = run(inputs, tmp_path / "out.mp4", fast=True, guidance=1.0).warnings
    assert said.startswith("--fast without --lora") and "--lora FILE" in said


def test_nothing_is_left_when_the_run_breaks(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = job_pipeline()
    real = pipe.stream

    def breaks(*args: Any, **options: Any) -> Any:
        stream = real(*args, **options)
        yield next(stream)
        yield next(stream)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipe, "stream", breaks)
    options = AnimateOptions((inputs / "portrait.png",), inputs / "driver.mp4", tmp_path / "out.mp4", preview=True)
    with pytest.raises(KeyboardInterrupt):
        animate(options, pipe=pipe, reader=DrawnFaceReader())
    assert list(tmp_path.iterdir()) == []


def test_an_older_result_survives_a_broken_run(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "out.mp4")
    before = (tmp_path / "out.mp4").read_bytes()
    with pytest.raises(InputError):
        run(inputs, tmp_path / "out.mp4", driver=inputs / "faceless.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == before


def test_a_foreign_json_is_not_overwritten(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text('{"labels": []}')
    with pytest.raises(OutputError, match=r"out\.json"):
        run(inputs, tmp_path / "out.mp4")
    assert (tmp_path / "out.json").read_text() == '{"labels": []}'


def test_progress_reaches_the_end_of_every_stage(inputs: Path, tmp_path: Path) -> None:
    told: dict[str, list[float]] = {}
    totals: dict[str, float | None] = {}

    class Told:
        def stage(self, title: str, total: float | None) -> None:
            totals[title], told[title] = total, []

        def update(self, done: float) -> None:
            told[next(reversed(told))].append(done)

        def note(self, text: str) -> None:
            raise AssertionError(text)

    run(inputs, tmp_path / "out.mp4", Told())
    reading, animating = list(told)[1:]
    assert told[reading] == list(range(1, 10)) and totals[reading] == 9
    assert told[animating] == sorted(told[animating]) and told[animating][-1] == totals[animating] == 1


def test_the_result_says_what_it_is(inputs: Path, tmp_path: Path) -> None:
    with av.open(str(run(inputs, tmp_path / "out.mp4").output)) as container:
        assert "Synthetic" in container.metadata["comment"]
