"""What travels along the wires: a loaded model, and a portrait that was set for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.animation.animator import Animator, animator_of
from mien.animation.loading import load_pipeline
from mien.animation.source import Portrait, find_portrait
from mien.errors import InputError
from mien.faces import FaceReader, load_face_reader
from mien.jobs.options import DEVICES
from mien.pipelines.dex_portrait import DeXPortraitPipeline
from mien.pipelines.placement import check_placement, place

from . import host
from .images import check_image, frame_of
from .inputs import GONE_READER

if TYPE_CHECKING:
    from mien.pipelines.x_portrait import XPortraitPipeline

_LEAST_SIDE = 32  # pixels; below that there is no face to be seen


@dataclass(eq=False)
class Model:
    """A pipeline with its face reader (MIEN_MODEL). now: the portrait whose encoding the pipeline holds.

    managed: its networks where ComfyUI moves them; None: they stay where they are, or diffusers moves them.
    room: bytes to have ComfyUI free before every run, for networks that ComfyUI does not move.
    """

    pipe: XPortraitPipeline | DeXPortraitPipeline
    reader: FaceReader
    managed: host.ManagedModel | None = field(default=None, repr=False)
    room: int = 0
    now: Subject | None = field(default=None, repr=False)

    def ready(self) -> None:
        """Have the networks where they run: to be called before every run, for ComfyUI may have moved them."""
        if self.managed is not None:
            self.managed.ready()
        elif self.room > 0:
            host.make_room(self.room, host.device())

    def __post_init__(self) -> None:
        self.animator = animator_of(self.pipe, self.reader)

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

    def encode(self) -> Animator:
        """Make the model ready and give it the portrait, unless it is the one it holds already."""
        self.model.ready()
        if self.model.now is not self:
            self.model.now = None  # should the encoding fail, the model holds neither portrait
            self.model.animator.set_source(self.portraits)
            self.model.now = self
        return self.model.animator


def load_model(name: str, precision: str, reader: str, offload: str, quantize: str) -> Model:
    """Load a model by a name of `host.model_names`; which system it is says its own index.

    reader: of READER_NAMES, or the one that is gone. offload, quantize: as of `mien animate`; on a CPU weights stay
    where they are.
    Raises WeightsError or InputError.
    """
    where = host.device()
    if where.type not in DEVICES:
        raise InputError(f"ComfyUI runs on {where}, which Mien cannot use: start ComfyUI with its option for the CPU")
    found = load_face_reader("auto" if reader == GONE_READER else reader)
    if where.type != "cpu":
        check_placement(where, offload, quantize)
    dtype = _precision(precision, where)
    pipe = load_pipeline(host.model_folder(name), device="cpu", dtype=dtype, quantize=quantize)
    pipe.set_progress_bar_config(disable=True)  # ComfyUI shows its own
    if where.type == "cpu":
        return Model(pipe, found)
    parts = {part: network for part, network in pipe.components.items() if isinstance(network, torch.nn.Module)}
    if offload != "none":
        place(pipe, where, offload)
        return Model(pipe, found, room=2 * max(map(_size, parts.values())))  # as much again for what is computed
    return Model(pipe, found, host.ManagedModel(parts, where))


def set_portrait(model: Model, image: Tensor, face: int) -> Subject:
    """Find the face in the first picture of a batch; the others are further pictures of the same person.

    face: which one of the first picture, the largest is 0. Raises InputError if there is no face.
    """
    check_image(image, "image")
    height, width = image.shape[1:3]
    if min(height, width) < _LEAST_SIDE:
        raise InputError(f"image has {width} x {height} pixels, too few to show a face: connect a larger picture")
    portraits = []
    for index in range(len(image)):
        name = Path("the portrait" if index == 0 else f"picture {index + 1} of the portrait")
        found = find_portrait(name, frame_of(image, index), model.reader, face if index == 0 else None)
        portraits.append(found.framed(model.pipe.crop_scale))
    return Subject(model, portraits)


def _precision(name: str, where: torch.device) -> str:
    from mien.animation.loading import choose_dtype

    return str(choose_dtype(name, where)).removeprefix("torch.")


def _size(network: torch.nn.Module) -> int:
    """Bytes of all weights."""
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())
