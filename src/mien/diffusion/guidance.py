"""Guidance: how an unconditional and a conditional prediction become one."""

from __future__ import annotations

from torch import Tensor


def classifier_free(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """eps = eps_u + s (eps_c - eps_u), Ho and Salimans 2022; X-Portrait's script uses s = 5."""
    return unconditional + scale * (conditional - unconditional)
