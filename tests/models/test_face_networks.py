"""The torch face networks against what the .tflite files they were converted from gave; see tests/assets/README.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mien.errors import WeightsError
from mien.faces.networks import load_weights
from mien.models.face_networks import (
    BLENDSHAPE_POINTS,
    POINTS,
    BlendshapeNetwork,
    Detector,
    FullRangeDetector,
    LandmarkNetwork,
    PersonMaskNetwork,
    ShortRangeDetector,
)
from mien.weights import bundled

NEAR = 1e-3
Network = TypeVar("Network", bound=nn.Module)
DETECTORS = [("short_range_detector", ShortRangeDetector), ("full_range_detector", FullRangeDetector)]


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    torch.set_num_threads(1)
    with np.load(Path(__file__).parents[1] / "assets" / "face_networks.npz") as file:
        return dict(file)


def _load(network: Network, name: str) -> Network:
    return load_weights(network, bundled("face-networks") / f"{name}.safetensors")


def _picture(recorded: dict[str, np.ndarray], side: int, low: float = 0.0) -> torch.Tensor:
    times = side // 64
    picture = recorded["picture"].repeat(times, 0).repeat(times, 1)[None] / 255 * (1 - low) + low
    return torch.from_numpy(picture.transpose(0, 3, 1, 2).astype(np.float32))


@torch.inference_mode()
def test_person_mask(recorded: dict[str, np.ndarray]) -> None:
    mask = _load(PersonMaskNetwork(), "person_mask")(_picture(recorded, 256))
    assert mask.shape == (1, 1, 256, 256)
    np.testing.assert_allclose(mask[0, 0, ::8, ::8], recorded["person_mask"], atol=NEAR)
    assert recorded["person_mask"].max() > 0.99 and recorded["person_mask"].min() < 0.01  # there is something to tell


@torch.inference_mode()
def test_landmarks(recorded: dict[str, np.ndarray]) -> None:
    found = _load(LandmarkNetwork(), "landmarks")(_picture(recorded, 256))
    assert found.points.shape == (1, POINTS, 3)
    np.testing.assert_allclose(found.points.flatten(), recorded["landmarks"], atol=NEAR)
    np.testing.assert_allclose(found.presence, recorded["presence"], atol=NEAR)
    np.testing.assert_allclose(found.tongue.sigmoid(), recorded["tongue"], atol=NEAR)
    assert np.ptp(recorded["landmarks"].reshape(-1, 3)[:, 0]) > 50  # a face, not one spot


@torch.inference_mode()
def test_blendshapes(recorded: dict[str, np.ndarray]) -> None:
    network = _load(BlendshapeNetwork(), "blendshapes")
    points = torch.from_numpy(recorded["landmarks"].reshape(1, POINTS, 3)[:, list(BLENDSHAPE_POINTS), :2])
    np.testing.assert_allclose(network(points)[0], recorded["blendshapes"], atol=NEAR)
    # Neither place nor size of the face counts.
    np.testing.assert_allclose(network(points * 3.5 - 40)[0], recorded["blendshapes"], atol=NEAR)
    assert recorded["blendshapes"].max() > 0.1


@torch.inference_mode()
@pytest.mark.parametrize(("name", "kind"), DETECTORS)
def test_detectors(recorded: dict[str, np.ndarray], name: str, kind: type[Detector]) -> None:
    network = _load(kind(), name)
    picture = _picture(recorded, network.SIDE, -1.0)
    numbers, logits = network.raw(picture)
    best = recorded[f"{name}_best"].astype(int)
    np.testing.assert_allclose(logits[0, ::8], recorded[f"{name}_logits"], atol=NEAR)
    np.testing.assert_allclose(numbers[0, best], recorded[f"{name}_numbers"], atol=NEAR)

    found = network(picture)
    assert int(found.logit[0].argmax()) == best[0]
    middle, size = found.box[0, best[0], :2], found.box[0, best[0], 2:]
    assert torch.allclose(middle, torch.tensor([0.5, 0.6]), atol=0.1)
    assert size.min() > 0.4 and size.max() < 0.6
    right_eye, left_eye, _, mouth = found.points[0, best[0], :4]
    assert right_eye[0] < middle[0] < left_eye[0] and mouth[1] > right_eye[1]


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("person_mask", PersonMaskNetwork, (3, 256, 256)),
        ("landmarks", LandmarkNetwork, (3, 256, 256)),
        ("blendshapes", BlendshapeNetwork, (146, 2)),
        ("short_range_detector", ShortRangeDetector, (3, 128, 128)),
        ("full_range_detector", FullRangeDetector, (3, 192, 192)),
    ],
)
def test_a_batch_is_each_on_its_own(name: str, kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    network = _load(kind(), name)
    batch = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    together, alone = network(batch), [network(each[None]) for each in batch]
    if not isinstance(together, torch.Tensor):
        together, alone = together.__dict__, [each.__dict__ for each in alone]
        for part, values in together.items():
            torch.testing.assert_close(values, torch.cat([each[part] for each in alone]), atol=NEAR, rtol=0)
    else:
        torch.testing.assert_close(together, torch.cat(alone), atol=NEAR, rtol=0)


def test_strict_loading(tmp_path: Path) -> None:
    tensors = load_file(bundled("face-networks") / "blendshapes.safetensors")
    spare = tensors.pop("answer")
    save_file(tensors | {"question": spare}, tmp_path / "blendshapes.safetensors")
    with pytest.raises(WeightsError, match="missing: answer; unexpected: question"):
        load_weights(BlendshapeNetwork(), tmp_path / "blendshapes.safetensors")


def test_live_against_litert(tmp_path: Path) -> None:
    """Where ai-edge-litert and the .tflite files are at hand, the whole conversion runs anew."""
    pytest.importorskip("ai_edge_litert")
    folder = os.environ.get("MIEN_TFLITE_FOLDER")
    if not folder:
        pytest.skip("MIEN_TFLITE_FOLDER does not name the folder of Google's .tflite files")
    script = Path(__file__).parents[2] / "benchmarks" / "convert_face_networks.py"
    command = [sys.executable, str(script), folder, "--out", str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    off = [float(line.split("off by ")[1].split()[0]) for line in made.stdout.splitlines() if "off by" in line]
    assert len(off) == 5 and max(off) < NEAR
    for path in bundled("face-networks").glob("*.safetensors"):
        ours, anew = load_file(path), load_file(tmp_path / path.name)
        assert ours.keys() == anew.keys() and all(torch.equal(ours[name], anew[name]) for name in ours)
