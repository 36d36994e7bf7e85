"""What a run keeps aside while it works, so that after a kill the same command goes on with the same frames.

A folder holds, for each piece of finished frames, one PNG (the frames one below the other), and `front.safetensors`:
where the denoising stood after the last piece, the random generator included. Every file appears whole or not at all;
what does not fit together is not used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mien.diffusion import SamplerState
from mien.errors import OutputError
from mien.jobs.options import AnimateOptions
from mien.media.files import remove_quietly, utf8_path, whole_file

_FRONT = "front.safetensors"
_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def run_key(request: str, options: AnimateOptions, part: str = "") -> str:
    """A name for all that decides a run's frames: what was asked for, and what its defaults became here.

    Args:
        request: the digest of what was asked for.
        options: resolved.
        part: which of several results of the run.

    Returns:
        24 hexadecimal digits.
    """
    found = {name: str(value) for name, value in asdict(options).items() if name != "offload"}
    machine: list[Any] = [torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()]
    machine += ["openvino"] if find_spec("openvino") is not None else []
    content = json.dumps([request, found, machine, part], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


class FrameCheckpoint:
    """A `pipelines.finishing.Checkpoint` in a folder, which is made at need.

    note: told if the disk cannot hold it; the run goes on without.
    """

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self._folder, self._note, self._off = folder, note, False
        self._begun = self._read()
        self._count = 0 if self._begun is None else self._begun.emitted

    def state(self) -> SamplerState | None:
        """See `Checkpoint.state`."""
        return self._begun

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """What was finished before this run began: `state().emitted` frames uint8 [h, w, 3]."""
        end, at = 0 if self._begun is None else self._begun.emitted, 0
        while at < end:
            piece = self._piece(at)
            yield from piece
            at += len(piece)

    def save(self, frames: Sequence[NDArray[Any]], state: Callable[[], SamplerState]) -> None:
        """See `Checkpoint.save`."""
        if self._off:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path(self._count)) as temporary:
                pixels = np.concatenate(list(frames))[..., ::-1]
                temporary.write_bytes(cv2.imencode(".png", pixels, _FAST)[1].tobytes())
            self._write(state())
        except (OSError, OutputError) as error:
            self._off = True
            shutil.rmtree(self._folder, ignore_errors=True)
            self._note(f"finished frames cannot be kept aside ({error}), so if this run is stopped it begins anew")
            return
        self._count += len(frames)

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:08}.png"

    def _piece(self, first: int) -> NDArray[np.uint8]:
        """The frames [n, side, side, 3] of a piece. Raises ValueError if they are damaged."""
        image = cv2.imdecode(np.fromfile(self._path(first), np.uint8), cv2.IMREAD_COLOR)
        if image is None or len(image) % image.shape[1]:
            raise ValueError("no piece of square frames")
        return np.ascontiguousarray(image[..., ::-1]).reshape(-1, image.shape[1], image.shape[1], 3)

    def _write(self, state: SamplerState) -> None:
        about = {"emitted": state.emitted, "pulled": state.pulled, "numbers": state.numbers}
        with whole_file(self._folder / _FRONT) as temporary:
            save_file(state.tensors, temporary, {"front": json.dumps(about)})

    def _read(self) -> SamplerState | None:
        """Where the earlier run stood, if all its pieces are there."""
        path = self._folder / _FRONT
        if not path.is_file():
            return None
        try:
            with utf8_path(path) as found, safe_open(found, "pt") as file:
                about = json.loads(file.metadata()["front"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            state = SamplerState(about["emitted"], about["pulled"], tensors, about["numbers"])
            self._check(state.emitted)
        except (OSError, ValueError, LookupError, TypeError, SafetensorError, struct.error):
            return None
        return state

    def _check(self, emitted: int) -> None:
        """Raise unless all pieces are there, by their headers; remove one that the state does not know of yet."""
        at = 0
        while at < emitted:
            with self._path(at).open("rb") as file:
                width, height = struct.unpack(">II", file.read(24)[16:])
            at += max(1, height // width)
        if at != emitted:
            raise ValueError("the pieces do not end where the front stands")
        remove_quietly(self._path(emitted))
