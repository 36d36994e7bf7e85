"""What Stable Diffusion's text encoder makes of the empty prompt: the one constant context of X-Portrait.

The encoder (CLIP ViT-L/14, Radford et al. 2021, Section 2.4) is run once, on one prompt that never changes, so it is
torch's own pre-norm transformer with a causal mask, filled with the checkpoint's weights: no other library is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.errors import InputError, WeightsError
from mien.interop.x_portrait import TEXT_ENCODER

_START, _END = 49406, 49407  # CLIP's token numbers; the empty prompt is padded with the end token
_TRANSFORMER = TEXT_ENCODER + "transformer."
_HEAD_WIDTH = 64
_RENAMES = {
    "self_attn.out_proj": "self_attn.out_proj",
    "mlp.fc1": "linear1",
    "mlp.fc2": "linear2",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
}


@torch.no_grad()
def empty_prompt_context(state: Mapping[str, Tensor]) -> Tensor:
    """Context [1, 77, 768] of the empty prompt, computed by the checkpoint's own text encoder.

    Args:
        state: an official checkpoint's entries, or a diffusers text encoder's below the checkpoint's prefix.

    Returns:
        The encoder's last hidden state, in single precision.

    Raises:
        InputError: there is no text encoder.
        WeightsError: it is not CLIP's, or an entry is missing or unknown.
    """
    weights = {
        # newer versions of transformers have dropped the level `text_model.`
        name.removeprefix(_TRANSFORMER).removeprefix("text_model."): value.float()
        for name, value in state.items()
        # a buffer of old versions of transformers that counts 0 to 76
        if name.startswith(_TRANSFORMER) and not name.endswith("embeddings.position_ids")
    }
    if not weights:
        raise InputError(
            "the checkpoint has no text encoder (cond_stage_model.): give the empty prompt's context with --context."
        )
    try:
        positions = weights.pop("embeddings.position_embedding.weight")
        vocabulary = weights.pop("embeddings.token_embedding.weight")
        layers, last = _layers(weights, vocabulary.shape[1])
    except (KeyError, ValueError, IndexError, RuntimeError, AssertionError) as error:
        raise WeightsError(f"the checkpoint's text encoder is no CLIP text model ({error}).") from error
    if weights:
        raise WeightsError(f"the checkpoint's text encoder does not fit CLIP: {', '.join(sorted(weights)[:4])}.")
    # smaller vocabularies, in tests, keep the order: the end token is the last
    tokens = torch.full((len(positions),), min(_END, len(vocabulary) - 1))
    tokens[0] = min(_START, len(vocabulary) - 2)
    hidden = (vocabulary[tokens] + positions)[None]
    mask = nn.Transformer.generate_square_subsequent_mask(len(positions))
    for layer in layers:
        hidden = layer(hidden, src_mask=mask, is_causal=True)
    context: Tensor = last(hidden)
    return context


def _layers(weights: dict[str, Tensor], width: int) -> tuple[list[nn.TransformerEncoderLayer], nn.LayerNorm]:
    """CLIP's layers and its last norm; takes what they need out of `weights`. KeyError, RuntimeError."""
    count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layers."))
    layers = []
    for place in (f"encoder.layers.{index}." for index in range(count)):
        layer = nn.TransformerEncoderLayer(
            width,
            width // _HEAD_WIDTH,
            weights[f"{place}mlp.fc1.weight"].shape[0],
            dropout=0.0,
            activation=_quick_gelu,
            batch_first=True,
            norm_first=True,
        ).eval()
        own: dict[str, Tensor] = {}
        for kind in ("weight", "bias"):
            own |= {f"{ours}.{kind}": weights.pop(f"{place}{theirs}.{kind}") for theirs, ours in _RENAMES.items()}
            three = [weights.pop(f"{place}self_attn.{name}_proj.{kind}") for name in "qkv"]
            own[f"self_attn.in_proj_{kind}"] = torch.cat(three)
        layer.load_state_dict(own)
        layers.append(layer)
    last = nn.LayerNorm(width)
    last.load_state_dict({kind: weights.pop(f"final_layer_norm.{kind}") for kind in ("weight", "bias")})
    return layers, last


def _quick_gelu(value: Tensor) -> Tensor:
    """CLIP's GELU, by a sigmoid (Hendrycks and Gimpel 2016, Section 2)."""
    return value * torch.sigmoid(1.702 * value)


def read_context(path: Path) -> Tensor:
    """The context from a .safetensors file: its entry `context`, or its only one."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as .safetensors: name a file that holds the context.") from error
    if "context" not in tensors and len(tensors) != 1:
        raise InputError(f"{path} has no entry named context.")
    return tensors.get("context", next(iter(tensors.values()))).float()
