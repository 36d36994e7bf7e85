"""Golden parity kits: a small official model with generated weights, inputs, and what the official code made of them.

A kit is a folder of manifest.json, inputs.npz and outputs.npz. Its weights follow from their official names alone.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.errors import InputError
from mien.interop import constants
from mien.interop.official_config import config_from_shapes
from mien.models.x_portrait import XPortraitConfig

Arrays = dict[str, np.ndarray]

# layers whose weights the kits fill half as strongly again, to keep the signal alive and the attention peaky
_BOOSTED = (".input_hint_block.", ".to_q.", ".to_k.")


@dataclass(frozen=True)
class ArrayResult:
    """One golden array against ours: largest absolute error; the same over the largest golden value; both in grey
    levels for 8-bit pictures. `problem` says why there is nothing to compare."""

    name: str
    absolute: float
    relative: float
    tolerance: float
    passed: bool
    problem: str = ""

    def line(self) -> str:
        """For the terminal."""
        verdict = "ok  " if self.passed else "FAIL"
        if self.problem:
            return f"{verdict} {self.name:40} {self.problem}"
        errors = f"absolute {self.absolute:.2e}  relative {self.relative:.2e}"
        return f"{verdict} {self.name:40} {errors}  tolerance {self.tolerance:.1e}"


@dataclass(frozen=True)
class Kit:
    """A kit in memory: its description, inputs and golden outputs by name."""

    manifest: dict[str, Any]
    inputs: Arrays
    outputs: Arrays

    @property
    def run(self) -> dict[str, Any]:
        """Run parameters: H, W, N frames, window B, overlap, steps S, cfg, t and others."""
        return dict(self.manifest["run"])

    @property
    def config(self) -> XPortraitConfig:
        """Sizes by the shapes of the weights; what shapes do not tell, by the manifest."""
        described = self.manifest["config"]
        return config_from_shapes(
            {entry["name"]: entry["shape"] for entry in self.manifest["state_dict"]},
            heads=int(described["num_heads"]),
            temporal_heads=int(described["motion_module"]["num_attention_heads"]),
            image_size=max(int(self.run["H"]), int(self.run["W"])),
            context_tokens=self.inputs["context"].shape[1],
            scaling_factor=float(described["diffusion"]["scale_factor"]),
        )

    def picture(self, name: str) -> Tensor:
        """8-bit pictures of the inputs, channels first, as float32 in [-1, 1]."""
        return self.tensor(name).float() / 127.5 - 1

    def tensor(self, name: str) -> Tensor:
        """An input as a tensor; InputError if the kit has none of this name."""
        if name not in self.inputs:
            raise InputError(f"the kit has no input {name}.")
        return torch.from_numpy(self.inputs[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The official state dict that the kit was made with; InputError if a checksum does not agree."""
        state = {}
        for entry in self.manifest["state_dict"]:
            name, shape = entry["name"], tuple(entry["shape"])
            if entry["kind"] == "buffer":
                value = constants.expected(name, shape).astype(np.float32)
            else:
                value = fill(self.manifest["salt"], name, shape)
                checksum = entry.get("crc32")
                if checksum is not None and zlib.crc32(value.astype("<f4").tobytes()) != checksum:
                    raise InputError(f"the kit's manifest gives another checksum for {name}: the kit is damaged.")
            state[name] = torch.from_numpy(np.ascontiguousarray(value))
        return state


def read_kit(folder: Path) -> Kit:
    """Read a kit folder; InputError if a file is missing or damaged."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return Kit(manifest, _arrays(folder / "inputs.npz"), _arrays(folder / "outputs.npz"))
    except OSError as error:
        raise InputError(f"{folder} is no golden kit: {error.filename} cannot be read.") from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder} is no golden kit: a file in it is damaged ({error}).") from error


def _arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def fill(salt: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The kits' weights: normal draws seeded by the name, scaled by the kind of parameter, rounded once to float32."""
    seed = zlib.crc32(f"{salt}{name}".encode())
    draws = np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape)
    if name.endswith(".bias"):
        draws = 0.1 * draws
    elif len(shape) == 1:
        draws = 1.0 + 0.1 * draws
    else:
        gain = 1.5 if any(part in name for part in _BOOSTED) else 1.0
        draws = gain * draws / math.sqrt(math.prod(shape[1:]))
    return draws.astype(np.float32)


def compare(kit: Kit, ours: Mapping[str, np.ndarray], problems: Mapping[str, str]) -> list[ArrayResult]:
    """One result for every golden array, in the kit's order; an array that we have not computed is a failure.

    `problems` says for name prefixes why their arrays could not be computed.
    """
    results = []
    for name, golden in kit.outputs.items():
        tolerance = float(kit.manifest["tolerance"].get(name, 0.0))
        if name in ours:
            results.append(_judge(name, np.asarray(ours[name]), golden, tolerance))
        else:
            reasons = (text for prefix, text in problems.items() if name.startswith(prefix))
            why = next(reasons, "no check for this array")
            results.append(ArrayResult(name, math.inf, math.inf, tolerance, False, why))
    return results


def _judge(name: str, ours: np.ndarray, golden: np.ndarray, tolerance: float) -> ArrayResult:
    if ours.shape != golden.shape:
        problem = f"ours has shape {list(ours.shape)}, the golden array {list(golden.shape)}"
        return ArrayResult(name, math.inf, math.inf, tolerance, False, problem)
    absolute = float(np.abs(ours.astype(np.float64) - golden.astype(np.float64)).max(initial=0.0))
    largest = float(np.abs(golden.astype(np.float64)).max(initial=0.0))
    relative = absolute / largest if largest else absolute
    # 8-bit pictures and integers are judged by what they differ, not by the share of it
    measure = relative if np.issubdtype(golden.dtype, np.floating) else absolute
    return ArrayResult(name, absolute, relative, tolerance, measure <= tolerance)
