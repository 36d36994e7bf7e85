"""Weights that come with the package, each folder with its model card."""

from __future__ import annotations

from pathlib import Path

from mien.errors import WeightsError

HERE = Path(__file__).resolve().parent
FOLDERS = {
    "nano": "x_portrait_nano",
    "dex-nano": "dex_portrait_nano",
    "face-networks": "face_networks",
}


def bundled(name: str) -> Path:
    """Folder of a bundled model: "nano" (X-Portrait), "dex-nano" (DeX-Portrait) or "face-networks" (reading faces)."""
    if name not in FOLDERS:
        raise WeightsError(f"there is no bundled model {name!r}; the bundled ones are {', '.join(FOLDERS)}.")
    folder = HERE / FOLDERS[name]
    if not folder.is_dir():
        raise WeightsError(f"{folder} is missing; this installation of mien is incomplete, install it again.")
    return folder
