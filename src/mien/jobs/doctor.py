"""What is installed, what this machine can do, which weights are where, and how to get what is missing."""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass, field

from mien.errors import MienError
from mien.jobs.run.record import package_versions
from mien.version import __version__


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what it is, and if something is missing, how to get it."""

    name: str
    state: str
    fix: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All findings, by heading. ready: `mien animate` can run with the bundled model."""

    ready: bool
    sections: dict[str, list[Finding]] = field(default_factory=dict)


def examine() -> Diagnosis:
    """Look at this machine; loads torch, reads no weights and asks no network."""
    weights = _weights()
    sections = {"versions": _versions(), "devices": _devices(), "weights": weights, "extras": _extras()}
    ready = all(finding.fix is None for finding in weights if finding.name.startswith("bundled"))
    return Diagnosis(ready, sections)


def _versions() -> list[Finding]:
    found = [Finding("mien", __version__), Finding("python", f"{platform.python_version()} on {platform.platform()}")]
    for name, number in package_versions().items():
        if number is not None:
            found.append(Finding(name, number))
    return found


def _devices() -> list[Finding]:
    import torch

    found = [Finding("cpu", f"{torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        found.append(Finding(f"cuda:{index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB"))
    if not torch.cuda.is_available():
        built = torch.version.cuda
        found.append(Finding("cuda", "none" if built else "none (this torch is built without CUDA)"))
    if torch.backends.mps.is_available():
        found.append(Finding("mps", "available"))
    return found


def _weights() -> list[Finding]:
    from mien.weights import FOLDERS, bundled

    found = []
    for name in FOLDERS:
        try:
            folder = bundled(name)
            found.append(Finding(f"bundled {name}", f"{folder} ({_megabytes(folder):.1f} MB)"))
        except MienError as error:
            found.append(Finding(f"bundled {name}", "missing", str(error)))
    fix = "mien convert x-portrait CHECKPOINT.th FOLDER makes it of the published checkpoint; see docs/results.md"
    found.append(Finding("full-size model", "given by --model FOLDER or --model OWNER/NAME", fix))
    return found


def _extras() -> list[Finding]:
    wanted = {"web": "gradio", "camera": "pyvirtualcam", "train": "accelerate", "wandb": "wandb"}
    wanted |= {"eval": "onnxruntime", "scale": "peft", "fast": "openvino"}
    found = []
    for extra, module in wanted.items():
        if importlib.util.find_spec(module) is not None:
            found.append(Finding(extra, f"{module} is installed"))
        else:
            found.append(Finding(extra, f"{module} is not installed", f'pip install "mien[{extra}]"'))
    return found


def _megabytes(folder: object) -> float:
    from pathlib import Path

    return sum(file.stat().st_size for file in Path(str(folder)).rglob("*") if file.is_file()) / 1e6
