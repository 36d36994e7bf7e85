"""Expression attention (DeX-Portrait, supplement; the form is X-NeMo's): a transformer after each spatial one."""

from __future__ import annotations

import math

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn


class ExpressionAttention(nn.Module):
    """GroupNorm, linear, two cross-attentions to the expression tokens, feed-forward, linear, added to the input."""

    def __init__(self, channels: int, heads: int, token_dim: int, norm_num_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.block = BasicTransformerBlock(
            channels,
            heads,
            channels // heads,
            cross_attention_dim=token_dim,
            activation_fn="geglu",
            only_cross_attention=True,
        )
        self.proj_out = nn.Linear(channels, channels)
        # a fresh module changes nothing, so that it can be added to a trained image model
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Add what the features find in the expression.

        Args:
            hidden: features [b, c, h, w].
            tokens: of the expression [b, n, d].

        Returns:
            [b, c, h, w].
        """
        x = self.norm(hidden).flatten(2).transpose(1, 2)  # [b, h w, c]
        x = self.proj_out(self.block(self.proj_in(x), encoder_hidden_states=tokens.to(x.dtype)))
        return hidden + x.transpose(1, 2).unflatten(2, hidden.shape[-2:])


def token_positions(tokens: int, dim: int) -> Tensor:
    """Sines and cosines that tell the tokens apart.

    Args:
        tokens: how many.
        dim: numbers in each.

    Returns:
        [tokens, dim].
    """
    place = torch.arange(tokens)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    return torch.stack([place.sin(), place.cos()], dim=2).flatten(1)[:, :dim]
