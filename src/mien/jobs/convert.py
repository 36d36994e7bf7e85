"""A foreign checkpoint into our folder format.

That is model_index.json, a folder for each part, conversion_report.json, and SHA256SUMS.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from mien.diffusion import XPortraitDDIMScheduler
from mien.errors import OutputError
from mien.interop.checkpoint import read_checkpoint
from mien.interop.official_config import config_from_shapes
from mien.interop.text_context import empty_prompt_context, read_context
from mien.interop.x_portrait import ConversionReport, assemble, convert
from mien.jobs.model_folder import write_sums
from mien.jobs.options import ConvertOptions
from mien.jobs.run.progress import Progress, Silent
from mien.media.files import unwritable
from mien.models.x_portrait import XPortraitNetworks
from mien.pipelines.x_portrait import XPortraitPipeline

REPORT = "conversion_report.json"
_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def convert_x_portrait(options: ConvertOptions, progress: Progress | None = None) -> ConversionReport:
    """Convert the official X-Portrait checkpoint; the folder appears whole or not at all.

    The checkpoint is mapped from disk, and a tensor is held in memory only if its type changes.

    Args:
        options: see `ConvertOptions`.
        progress: told what is read and written.

    Returns:
        What became of every key.

    Raises:
        InputError: for a file that is no such checkpoint.
        WeightsError: names the keys that do not fit.
        OutputError: the folder cannot be written.
    """
    progress = progress or Silent()
    with _whole_folder(options.output) as folder:
        progress.stage("reading", None)
        state = read_checkpoint(options.checkpoint)
        context, source = _context(state, options)
        config = config_from_shapes(
            {name: tuple(tensor.shape) for name, tensor in state.items()}, context_tokens=context.shape[1]
        )
        parts, report = convert(state, config, context, source, options.allow_unknown)
        del state
        _save(folder, assemble(parts, config, _TYPES[options.dtype]), config.image_size, progress)
        (folder / REPORT).write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
        write_sums(folder, progress)
    return report


def _save(folder: Path, networks: XPortraitNetworks, image_size: int, progress: Progress) -> None:
    """What `DiffusionPipeline.save_pretrained` writes, part by part, so that progress can be told, and its sums."""
    scheduler = XPortraitDDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False)
    pipe = XPortraitPipeline(**vars(networks), scheduler=scheduler, image_size=image_size)
    parts = {
        name: part for name, part in vars(networks).items() if part is not None
    }  # the full size has no window head
    sizes = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in parts.items()}
    progress.stage("writing million parameters", sum(sizes.values()))
    done = 0.0
    for name, part in parts.items():
        part.save_pretrained(folder / name, safe_serialization=True, max_shard_size="100GB")
        done += sizes[name]
        progress.update(done)
    scheduler.save_pretrained(folder / "scheduler")
    pipe.save_config(folder)


def _context(state: dict[str, Tensor], options: ConvertOptions) -> tuple[Tensor, str]:
    if options.context is not None:
        return read_context(options.context), f"from {options.context.name}"
    return empty_prompt_context(state), "encoded by the checkpoint's own text encoder"


@contextmanager
def _whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well and vanishes when it does not."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(f"{path} exists and is not an empty folder: choose another name for the output.")
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.part"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except (OSError, SafetensorError) as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
