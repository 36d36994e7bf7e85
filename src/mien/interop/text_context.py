"""What Stable Diffusion's text encoder makes of the empty prompt: the one constant context of X-Portrait."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mien.errors import InputError, WeightsError
from mien.interop.x_portrait import TEXT_ENCODER

_START, _END = 49406, 49407  # CLIP's token numbers; the empty prompt is padded with the end token
_TRANSFORMER = TEXT_ENCODER + "transformer."


def empty_prompt_context(state: Mapping[str, Tensor]) -> Tensor:
    """Context [1, 77, 768] of the empty prompt, computed by the checkpoint's own text encoder (CLIP ViT-L/14).

    Raises InputError where there is none or transformers is not installed, WeightsError where it does not fit.
    """
    weights = {
        name.removeprefix(_TRANSFORMER): value
        for name, value in state.items()
        # a buffer of old versions of transformers that counts 0 to 76
        if name.startswith(_TRANSFORMER) and not name.endswith("embeddings.position_ids")
    }
    if not weights:
        raise InputError(
            "the checkpoint has no text encoder (cond_stage_model.): give the empty prompt's context with --context."
        )
    try:
        from transformers import CLIPTextConfig, CLIPTextModel
    except ImportError as error:
        raise InputError(
            "encoding the empty prompt needs transformers: pip install transformers, or give --context."
        ) from error
    encoder = CLIPTextModel(CLIPTextConfig(**_sizes(weights))).eval()
    _fill(encoder, weights)
    length, vocabulary = (weights[f"text_model.embeddings.{kind}_embedding.weight"].shape[0] for kind in _TABLES)
    # smaller vocabularies, in tests, keep the order: the end token is the last
    tokens = torch.full((1, length), min(_END, vocabulary - 1))
    tokens[:, 0] = min(_START, vocabulary - 2)
    with torch.no_grad():
        context: Tensor = encoder(tokens).last_hidden_state
    return context


_TABLES = ("position", "token")


def read_context(path: Path) -> Tensor:
    """The context from a .safetensors file: its entry `context`, or its only one."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as .safetensors: name a file that holds the context.") from error
    if "context" not in tensors and len(tensors) != 1:
        raise InputError(f"{path} has no entry named context.")
    return tensors.get("context", next(iter(tensors.values()))).float()


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    try:
        vocabulary, width = weights["text_model.embeddings.token_embedding.weight"].shape
        layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("text_model.encoder.layers."))
        return {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
            "num_hidden_layers": layers,
            "num_attention_heads": width // 64,
            "max_position_embeddings": weights["text_model.embeddings.position_embedding.weight"].shape[0],
            "hidden_act": "quick_gelu",
        }
    except (KeyError, ValueError) as error:
        raise WeightsError(f"the checkpoint's text encoder is no CLIP text model ({error}).") from error


def _fill(encoder: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Strict loading; newer versions of transformers have dropped the `text_model.` level."""
    wanted = set(encoder.state_dict())
    if not any(name.startswith("text_model.") for name in wanted):
        weights = {name.removeprefix("text_model."): value for name, value in weights.items()}
    counted = {name for name in wanted if name.endswith("embeddings.position_ids")}
    wrong = (wanted - counted) ^ set(weights)
    if wrong:
        raise WeightsError(f"the checkpoint's text encoder does not fit CLIP: {', '.join(sorted(wrong)[:4])}.")
    encoder.load_state_dict({k: v.float() for k, v in weights.items()}, strict=not counted)
