"""How good single pictures look, by CLIP. See `mien.evaluation.hyperiqa` for the network that was taught opinions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_BATCH = 8
Judge = Callable[[Tensor], list[float]]


def load_clip_iqa(model: Path) -> Judge:
    """CLIP-IQA (Wang et al. 2023) by torchmetrics with CLIP from a folder; times 100. model: its safetensors file."""
    from torchmetrics.multimodal import CLIPImageQualityAssessment

    folder: Any = str(model.parent)  # annotated as one of a few hub ids, but a folder does as well
    metric = CLIPImageQualityAssessment(model_name_or_path=folder, data_range=1.0, prompts=("quality",))

    @torch.no_grad()
    def judge(frames: Tensor) -> list[float]:
        return [100 * float(value) for part in frames.split(_BATCH) for value in metric(part).reshape(-1)]

    return judge
