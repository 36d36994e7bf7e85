"""Face windows by OpenVINO: the same frames as torch's to a level, and nothing lost where it is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.geometry.face_window import PaintedWindow
from mien.pipelines import compiled, x_portrait
from mien.pipelines.x_portrait import XPortraitPipeline
from tiny import tiny_window_pipeline

needed = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino: pip install 'mien[fast]'")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    return tmp_path / "compiled"


def tiny(steps: int = 1) -> XPortraitPipeline:
    pipe = tiny_window_pipeline(steps=steps)
    with torch.no_grad():  # else what is fresh paints nothing
        for weight in pipe.window_head.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    pipe.set_portrait(pictures(1, 0)[0])
    return pipe


def pictures(count: int, seed: int, side: int = 32) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def windows(pipe: XPortraitPipeline, count: int | None, wanted: bool) -> list[PaintedWindow]:
    frames = 9 if count is None else count
    given = pictures(frames, 1), pictures(frames, 2, 64)
    start, generator = pictures(frames, 3), torch.Generator().manual_seed(3)
    made = pipe.stream(*given, start_frames=start, generator=generator, count=count, compiled=wanted)
    return [PaintedWindow.unpacked(one) for one in made]


def assert_alike(some: list[PaintedWindow], others: list[PaintedWindow]) -> None:
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert np.abs(one.paint.astype(int) - other.paint).max() <= 1
        np.testing.assert_allclose(one.share, other.share, atol=1.01 / 255)
        np.testing.assert_allclose(one.flow, other.flow, atol=1e-4)


@needed
@pytest.mark.parametrize("count", [9, 3, 1])  # more than a window, less than one, a single frame
def test_openvino_makes_the_same_windows(count: int) -> None:
    pipe = tiny()
    wanted = windows(pipe, count, False)
    assert not pipe.programs
    assert_alike(windows(pipe, count, True), wanted)
    assert all(pipe.programs.values()) and len(pipe.programs) == 1
    assert wanted[0].share.max() > 0.1


@needed
def test_another_portrait_takes_the_same_programs() -> None:
    pipe = tiny()
    windows(pipe, 4, True)
    (made,) = pipe.programs.values()
    pipe.set_portrait(pictures(1, 7)[0])
    assert_alike(windows(pipe, 4, True), windows(pipe, 4, False))
    assert list(pipe.programs.values()) == [made]


@needed
def test_programs_are_kept_for_these_weights_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows(tiny(), 4, True)
    kept = sorted(path.name for path in cache.iterdir())
    assert [Path(name).suffix for name in kept] == [".bin", ".xml"] * 2
    other = tiny()
    with torch.no_grad():
        other.unet.conv_in.bias.add_(1)
    wanted = windows(other, 4, False)
    assert_alike(windows(other, 4, True), wanted)
    assert len(list(cache.iterdir())) == 8
    monkeypatch.setattr(compiled, "_converted", None)  # what is there is read
    again = tiny()
    assert_alike(windows(again, 4, True), windows(again, 4, False))
    assert all(again.programs.values())


@needed
def test_a_damaged_program_leaves_torch_to_do_it(cache: Path) -> None:
    wanted = windows(tiny(), 4, True)
    for path in cache.glob("*.xml"):
        path.write_text("<net")
    pipe = tiny()
    assert_alike(windows(pipe, 4, True), wanted)
    assert list(pipe.programs.values()) == [None]


@needed
def test_nobody_is_told(tmp_path: Path) -> None:
    """OpenVINO leaves a name of this machine in the home folder as it is imported, and sends it when it converts."""
    script = "from mien.pipelines.compiled import _openvino; print(_openvino().__name__)"
    home = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=home, capture_output=True, text=True, check=True)
    assert done.stdout == "openvino\n" and not (tmp_path / "intel").exists()


@needed
def test_several_steps_and_half_precision_are_torchs() -> None:
    pipe = tiny(steps=2)
    assert len(windows(pipe, 4, True)) == 4 and not any(pipe.programs.values())
    pipe = tiny()
    windows(pipe, 4, True)
    half = pipe.to(torch.bfloat16)
    half.set_portrait(pictures(1, 0)[0])
    assert len(windows(half, 4, True)) == 4


def test_without_openvino_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny()
    wanted = windows(pipe, 9, False)
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    for one, other in zip(windows(pipe, 9, True), wanted, strict=True):
        assert (one.paint == other.paint).all() and (one.flow == other.flow).all() and (one.share == other.share).all()


def test_only_clips_that_are_long_enough_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    found = x_portrait.XPortraitDenoiser
    monkeypatch.setattr(
        x_portrait, "XPortraitDenoiser", lambda *given, **how: asked.append(how["compiled"]) or found(*given, **how)
    )
    pipe = tiny()
    for count in (None, compiled.FEWEST_FRAMES - 1, compiled.FEWEST_FRAMES):
        pipe.stream([], [], start_frames=[], count=count)
    assert asked == [False, False, True]
