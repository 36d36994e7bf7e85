from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.errors import InputError
from parity import preparation as official

pytestmark = pytest.mark.parity

KIT = Path(__file__).parent / "kit"


def test_the_golden_kit_is_reproduced() -> None:
    pytest.importorskip("skimage", reason="needs scikit-image")
    pytest.importorskip("cv2", reason="needs OpenCV")
    manifest = json.loads((KIT / "manifest.json").read_text())
    golden = np.load(KIT / "outputs.npz")
    ours = official.official_arrays(np.load(KIT / "inputs.npz"), manifest)
    assert set(ours) == {name for name in golden.files if name.startswith(("align.", "prep."))}
    for name, array in ours.items():
        wanted = golden[name].astype(np.float64)
        assert array.shape == wanted.shape, name
        worst = np.abs(array.astype(np.float64) - wanted).max()
        allowed = manifest["tolerance"][name] * (1.0 if "u8" in name else np.abs(wanted).max())
        assert worst <= allowed, f"{name}: {worst} > {allowed}"
    counts = manifest["info"]["image"]["frame_counts"]
    frames = np.arange(len(np.load(KIT / "inputs.npz")["align.driving_u8"]))
    for run, count in counts.items():
        start, number, skip = (int(part.split("=")[1]) for part in run.split(","))
        kept = frames[official.official_frames(start, number, skip)]
        assert len(kept) == (0 if count == "RuntimeError" else count), run


def test_best_frame_and_missing_faces() -> None:
    pytest.importorskip("skimage", reason="needs scikit-image")
    rng = np.random.default_rng(0)
    source, frames = rng.integers(0, 256, (40, 30, 3), np.uint8), list(rng.integers(0, 256, (2, 20, 24, 3), np.uint8))
    points = rng.uniform(60, 200, (68, 2)).astype(np.float32)
    assert official.official_best_frame(points, [points + 9, points + 1, points - 2]) == 1
    prepared = official.official_inputs(source, frames, None, [None, None], [None, points])
    resized = official.official_resize(frames[1], 512) * 2 - 1
    assert np.allclose(prepared.conditions[1].permute(1, 2, 0), resized, atol=1e-6)  # no face: no alignment
    assert (prepared.local[0] == -1).all() and (prepared.local[1] != -1).any()
    found = official.official_inputs(source, frames, points, [None, points], [None, None])
    assert found.best_frame == 1 and np.allclose(found.conditions[1].permute(1, 2, 0), resized, atol=1e-4)


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.transform", None)
    with pytest.raises(InputError, match="pip install scikit-image"):
        official.official_resize(np.zeros((4, 4, 3), np.uint8), 8)
