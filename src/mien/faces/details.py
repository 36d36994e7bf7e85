"""A second, closer look at eyes and mouth: better lids and lips, and the pupils."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mien.errors import WeightsError
from mien.geometry.face_parts import EYES, MIRRORED_EYE, MOUTH, part_squares
from mien.media.files import whole_file
from mien.models.detail_reader import DetailReader, DetailReaderConfig

WEIGHTS, CONFIG = "details.safetensors", "details.json"


class Details:
    """The networks, and how their answers go back into a face's landmarks."""

    def __init__(self, network: DetailReader, device: str = "cpu") -> None:
        self.network, self.device = network.eval().requires_grad_(False).to(device), device

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Details | None:
        """From a folder with details.safetensors and details.json; None if it has none. Raises WeightsError."""
        path = folder / WEIGHTS
        if not path.is_file():
            return None
        try:
            settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            config = DetailReaderConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
            network = DetailReader(config)
            network.load_state_dict({name: part.float() for name, part in load_file(path).items()})
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise WeightsError(f"{path} cannot be used by the face reader: {error}") from error
        return cls(network, device)

    @torch.inference_mode()
    def refine(
        self, image: NDArray[np.uint8], faces: Sequence[NDArray[np.float32]]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Landmarks [68, 2] of faces in a picture [h, w, 3] with eyes and lips read anew, and pupils [2, 2], pixels."""
        if not faces:
            return []
        config, squares = self.network.config, [part_squares(points) for points in faces]
        eyes, mouths = [], []
        for right, left, mouth in squares:
            eyes += [right.extract(image, config.eye_side), left.extract(image, config.eye_side)[:, ::-1]]
            mouths.append(mouth.extract(image, config.mouth_side))
        seen, lips = (part.cpu().numpy() for part in self.network(self._tensor(eyes), self._tensor(mouths)))
        seen[1::2, :, 0] *= -1  # out of the mirror again
        made = []
        for index, (points, (right, left, mouth)) in enumerate(zip(faces, squares, strict=True)):
            better, pupils = points.copy(), np.empty((2, 2), np.float32)
            rings = (list(EYES[0]), list(MIRRORED_EYE))
            for side, (square, ring) in enumerate(zip((right, left), rings, strict=True)):
                places = square.points_out((seen[2 * index + side] + 1) * (config.eye_side / 2), config.eye_side)
                better[ring], pupils[side] = places[:6], places[6]
            better[list(MOUTH)] = mouth.points_out((lips[index] + 1) * (config.mouth_side / 2), config.mouth_side)
            made.append((better, pupils))
        return made

    def _tensor(self, crops: list[NDArray[np.uint8]]) -> torch.Tensor:
        stacked = torch.from_numpy(np.ascontiguousarray(np.stack(crops))).permute(0, 3, 1, 2)
        return (stacked.float() / 127.5 - 1).to(self.device)


def save_details(network: DetailReader, folder: Path) -> None:
    """Write what `Details.load` reads, float16."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: part.detach().cpu().contiguous() for name, part in network.state_dict().items()}
    kept = {name: part.half() if part.is_floating_point() else part for name, part in parts.items()}
    with whole_file(folder / WEIGHTS) as temporary:
        save_file(kept, temporary)
    with whole_file(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(asdict(network.config), indent=1) + "\n", encoding="utf-8")
