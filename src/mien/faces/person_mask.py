"""Where a picture shows people: a soft mask at the picture's own size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mien.faces.networks import for_pictures, load_weights
from mien.models.face_networks import PersonMaskNetwork
from mien.weights import bundled

WEIGHTS = "person_mask.safetensors"


class PersonMask:
    """Tells people from the background: `alpha = PersonMask()(image)`.

    The network sees the whole picture squeezed to 256 x 256 pixels, so that edges are soft on large pictures: about a
    256th of each side.
    """

    def __init__(self, folder: Path | None = None, device: str = "cpu") -> None:
        """Load the network.

        Args:
            folder: Holds person_mask.safetensors; None: the weights of the package.
            device: A torch device.

        Raises:
            WeightsError: If the file is missing or does not fit.
        """
        network = load_weights(PersonMaskNetwork(), (folder or bundled("face-networks")) / WEIGHTS)
        self._network = for_pictures(network, device)
        self._device = device

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The share of a person in each pixel.

        Args:
            image: RGB, [h, w, 3] uint8, any size.

        Returns:
            [h, w] float32 in [0, 1]; 0 is background.
        """
        return self.batch([image])[0]

    @torch.inference_mode()
    def batch(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Several pictures in one pass of the network.

        Args:
            images: uint8 [h, w, 3], which may differ in size.

        Returns:
            The share of a person in each pixel, [h, w] in [0, 1] for each.
        """
        if not images:
            return []
        side = PersonMaskNetwork.SIDE
        seen = np.stack([_squeeze(image, side) for image in images])
        pictures = torch.from_numpy(seen).to(self._device).permute(0, 3, 1, 2).float().div_(255)
        masks = self._network(pictures)[:, 0].cpu().numpy()
        return [
            cv2.resize(mask, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
            for mask, image in zip(masks, images, strict=True)
        ]


def _squeeze(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The whole picture in a square of `side` pixels, whatever its shape."""
    smaller = max(image.shape[:2]) > side
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
