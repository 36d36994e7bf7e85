"""Reference attention: the U-Net's self-attention also reads the tokens of the appearance reference R.

X-Portrait, Section 3.1 and Figure 2: appearance features of the source are concatenated into the transformer blocks.
R and the U-Net have the same blocks, so a layer of one finds its partner in the other by name.
"""

from __future__ import annotations

import torch
from diffusers import ModelMixin
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional


class ReferenceFeatures:
    """What R has seen: the normed tokens of every self-attention layer, and their keys and values in the U-Net.

    Tokens are `[r, n, c]`: r is 1 (one portrait for all frames), the number of clips in a training batch, or the number
    of frames (the official script's latents per frame). Keys and values are computed on first use and kept, so features
    that lives for one timestep pays for them once, however many frames and windows read it.
    """

    def __init__(self, keep_tokens: bool = True) -> None:
        """keep_tokens: else those of a layer go as soon as its keys and values are there, which saves a third."""
        self.keep_tokens = keep_tokens
        self.tokens: dict[str, Tensor] = {}
        self._projected: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, layer: str, tokens: Tensor) -> None:
        """Keep the tokens of a layer; those of a further portrait are appended along the token axis.

        Args:
            layer: its name.
            tokens: [r, n, c].
        """
        kept = self.tokens.get(layer)
        self.tokens[layer] = tokens if kept is None else torch.cat([kept, tokens], dim=1)

    def keys_values(self, layer: str, attention: Attention, batch: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, by the U-Net's own projections.

        Args:
            layer: its name.
            attention: the layer, which projects.
            batch: rows of the U-Net; each entry serves batch / r of them.

        Returns:
            Both [batch, n, c].
        """
        if layer not in self._projected:
            tokens = self.tokens[layer] if self.keep_tokens else self.tokens.pop(layer)
            self._projected[layer] = (attention.to_k(tokens), attention.to_v(tokens))
        key, value = self._projected[layer]
        return _spread(key, batch), _spread(value, batch)

    def select(self, rows: Tensor) -> ReferenceFeatures:
        """The features of some frames only, where each frame has reference latents of its own.

        Args:
            rows: of the frames.

        Returns:
            Features of as many entries.
        """
        chosen = ReferenceFeatures()
        chosen.tokens = {layer: tokens[rows] for layer, tokens in self.tokens.items()}
        return chosen


def _spread(tokens: Tensor, batch: int) -> Tensor:
    """`[r, n, c]` to `[batch, n, c]`: every entry is used for batch / r consecutive rows."""
    count, length, width = tokens.shape
    if batch % count:
        raise ValueError(f"{batch} frames cannot be shared between {count} reference entries")
    return tokens[:, None].expand(count, batch // count, length, width).reshape(batch, length, width)


class ReferenceRecorder(ReferenceFeatures):
    """Features that are being filled: R runs with it, and every self-attention leaves its tokens there."""

    def tie(self, features: Tensor) -> None:
        """Let the last tokens depend on R's last features, by nothing.

        FSDP gathers a block's split weights for its backward pass when the gradient of the block's output comes, and of
        the last block only the tokens are read.

        Args:
            features: the last ones.
        """
        layer = next(reversed(self.tokens))
        tokens = self.tokens[layer]
        self.tokens[layer] = tokens + 0 * features.mean().to(tokens.dtype)

    def features(self, keep_tokens: bool = True) -> ReferenceFeatures:
        """What was recorded, to be read.

        Args:
            keep_tokens: see `ReferenceFeatures`.

        Returns:
            The features.
        """
        read = ReferenceFeatures(keep_tokens)
        read.tokens = self.tokens
        return read


class ReferenceAttention:
    """Self-attention processor that knows its layer's name; plain self-attention when no `reference` is passed."""

    def __init__(self, layer: str) -> None:
        self.layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reference: ReferenceFeatures | None = None,
    ) -> Tensor:
        """`hidden_states` [b, n, c] are the block's tokens after its first LayerNorm."""
        key, value = attn.to_k(hidden_states), attn.to_v(hidden_states)
        if isinstance(reference, ReferenceRecorder):
            reference.add(self.layer, hidden_states)
        elif reference is not None:
            more_keys, more_values = reference.keys_values(self.layer, attn, len(hidden_states))
            key, value = torch.cat([key, more_keys], dim=1), torch.cat([value, more_values], dim=1)
        return _attend(attn, attn.to_q(hidden_states), key, value)


class ContextAttention:
    """Cross-attention to the constant context, whose keys and values are computed once for all rows of a batch."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        reference: ReferenceFeatures | None = None,
    ) -> Tensor:
        """`hidden_states` [b, n, c]; `encoder_hidden_states` [1 or b, tokens, dim]."""
        if encoder_hidden_states is None:
            raise ValueError("cross-attention needs the context")
        batch = len(hidden_states)
        key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        return _attend(attn, attn.to_q(hidden_states), key.expand(batch, -1, -1), value.expand(batch, -1, -1))


def _attend(attn: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # [b, heads, n, c / heads]

    out = functional.scaled_dot_product_attention(heads(query), heads(key), heads(value))
    return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2)))


def install(network: ModelMixin) -> None:
    """Give every attention layer of a diffusers U-Net or ControlNet the processors above."""
    network.set_attn_processor(
        {
            name: ReferenceAttention(name) if ".attn1." in name else ContextAttention()
            for name in network.attn_processors
        }
    )
