"""A second, closer look at the eyes: better lids, and the pupils."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from mien.faces.networks import as_tensor, load_strictly
from mien.geometry.eye_squares import EYES, MIRRORED_EYE, eye_squares
from mien.media.files import whole_file
from mien.models.eye_reader import EyeReader, EyeReaderConfig

WEIGHTS, CONFIG = "eyes.safetensors", "eyes.json"


class CloserLook:
    """The network, and how its answers go back into a face's landmarks."""

    def __init__(self, network: EyeReader, device: str = "cpu") -> None:
        self.network, self.device = network.eval().requires_grad_(False).to(device), device

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> CloserLook | None:
        """From a folder with eyes.safetensors and eyes.json; None if it has none. Raises WeightsError."""
        if not (folder / WEIGHTS).is_file():
            return None
        network = load_strictly(folder / WEIGHTS, folder / CONFIG, EyeReaderConfig, EyeReader)
        return cls(network, device)

    @torch.inference_mode()
    def refine(
        self, image: NDArray[np.uint8], faces: Sequence[NDArray[np.float32]]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Landmarks [68, 2] of faces in a picture [h, w, 3] with eyes read anew, and pupils [2, 2], pixels."""
        if not faces:
            return []
        side, squares = self.network.config.side, [eye_squares(points) for points in faces]
        crops = []
        for right, left in squares:
            crops += [right.extract(image, side), left.extract(image, side)[:, ::-1]]
        seen = self.network(as_tensor(crops).to(self.device)).cpu().numpy()
        seen[1::2, :, 0] *= -1  # out of the mirror again
        made = []
        for index, (points, pair) in enumerate(zip(faces, squares, strict=True)):
            better, pupils = points.copy(), np.empty((2, 2), np.float32)
            for eye, (square, ring) in enumerate(zip(pair, (EYES[0], MIRRORED_EYE), strict=True)):
                places = square.points_out((seen[2 * index + eye] + 1) * (side / 2), side)
                better[list(ring)], pupils[eye] = places[:6], places[6]
            made.append((better, pupils))
        return made


def save_eyes(network: EyeReader, folder: Path) -> None:
    """Write what `CloserLook.load` reads, float16."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: part.detach().cpu().contiguous() for name, part in network.state_dict().items()}
    kept = {name: part.half() if part.is_floating_point() else part for name, part in parts.items()}
    with whole_file(folder / WEIGHTS) as temporary:
        save_file(kept, temporary)
    with whole_file(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(asdict(network.config), indent=1) + "\n", encoding="utf-8")
