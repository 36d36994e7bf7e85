"""What travels along the wires: a loaded model, and a portrait that was set for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.animation.motion_transfer import portrait_keypoints
from mien.animation.source import Portrait, find_portrait
from mien.errors import InputError
from mien.faces import FaceReader, load_face_reader
from mien.jobs.models import load_dex_pipeline, load_pipeline
from mien.jobs.options import DEVICES, AnimateOptions
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.pipelines.loading import read_json

from . import host
from .images import frame_of

if TYPE_CHECKING:
    from mien.pipelines.x_portrait import XPortraitPipeline

_LEAST_DEX_SIDE = 256  # DeX-Portrait's encoders read the portrait at this size at least


@dataclass(eq=False)
class Model:
    """A pipeline with its face reader (MIEN_MODEL). now: the portrait whose encoding the pipeline holds."""

    pipe: XPortraitPipeline | DeXPortraitPipeline
    reader: FaceReader
    now: Subject | None = field(default=None, repr=False)

    @property
    def dex(self) -> DeXPortraitPipeline | None:
        """The pipeline, if it keeps pose and expression apart."""
        return self.pipe if isinstance(self.pipe, DeXPortraitPipeline) else None


@dataclass(eq=False)
class Subject:
    """A portrait set for a model (MIEN_PORTRAIT). portraits: pictures of one person; the first one moves."""

    model: Model
    portraits: list[Portrait]

    @property
    def portrait(self) -> Portrait:
        return self.portraits[0]

    @property
    def square(self) -> NDArray[np.uint8]:
        """What the model sees of the portrait, uint8 [s, s, 3]."""
        square: NDArray[np.uint8] = self.portrait.square(self.model.pipe.image_size)
        return square

    def encode(self) -> None:
        """Give the portrait to the pipeline, unless it is the one it holds already."""
        if self.model.now is self:
            return
        self.model.now = None  # should the encoding fail, the pipeline holds neither portrait
        pipe = self.model.pipe
        side = max(pipe.image_size, _LEAST_DEX_SIDE) if self.model.dex else pipe.image_size
        squares = [portrait.square(side) for portrait in self.portraits]
        if isinstance(pipe, DeXPortraitPipeline):
            pipe.set_portrait(squares, self.portrait.landmarks)
        elif pipe.reenactor is None:
            pipe.set_portrait(squares)
        else:
            pipe.set_portrait(squares, keypoints=portrait_keypoints(self.portrait, pipe.reenactor.basis()))
        self.model.now = self


def load_model(name: str, precision: str, reader: str, offload: bool) -> Model:
    """Load a model by a name of `host.model_names`; which system it is says its own index.

    offload: keep parts in main memory until they are needed. Raises WeightsError or InputError.
    """
    folder, where = host.model_folder(name), host.device()
    if where.type not in DEVICES:
        raise InputError(f"ComfyUI runs on {where}, which Mien cannot use: start ComfyUI with --cpu")
    index = Path(folder) / "model_index.json"
    dex = index.is_file() and read_json(index).get("_class_name") == DeXPortraitPipeline.__name__
    pipe: XPortraitPipeline | DeXPortraitPipeline
    if dex:
        pipe = load_dex_pipeline(folder, "cpu", _precision(precision, where))
    else:
        named = AnimateOptions((Path("portrait"),), Path("driver"), Path("out.mp4"), model=folder, device="cpu")
        pipe = load_pipeline(AnimateOptions(**{**vars(named), "dtype": _precision(precision, where)}))
    pipe.set_progress_bar_config(disable=True)  # ComfyUI shows its own
    if where.type != "cpu":
        host.make_room(_size(pipe), where)
        pipe.enable_model_cpu_offload(device=where) if offload else pipe.to(where)
    return Model(pipe, load_face_reader(reader))


def set_portrait(model: Model, image: Tensor, face: int) -> Subject:
    """Find the face in the first picture of a batch; the others are further pictures of the same person.

    face: which one of the first picture, the largest is 0. Raises InputError if there is no face.
    """
    portraits = []
    for index in range(len(image)):
        name = Path("the portrait" if index == 0 else f"picture {index + 1} of the portrait")
        found = find_portrait(name, frame_of(image, index), model.reader, face if index == 0 else None)
        portraits.append(found.framed(model.pipe.crop_scale))
    return Subject(model, portraits)


def _precision(name: str, where: torch.device) -> str:
    from mien.jobs.models import choose_dtype

    return str(choose_dtype(name, where)).removeprefix("torch.")


def _size(pipe: XPortraitPipeline | DeXPortraitPipeline) -> int:
    """Bytes of all weights."""
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return sum(weight.numel() * weight.element_size() for part in parts for weight in part.parameters())
