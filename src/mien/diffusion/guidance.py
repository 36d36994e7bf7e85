"""Guidance: how an unconditional and conditional predictions become one."""

from __future__ import annotations

from torch import Tensor


def classifier_free(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """eps = eps_u + s (eps_c - eps_u), Ho and Salimans 2022; X-Portrait's script uses s = 5."""
    return unconditional + scale * (conditional - unconditional)


def expression_weight(step: int, steps: int, hold: int | None = None) -> float:
    """How much of the expression a denoising step (0 is the first) is to see, 0 to 1: progressive hybrid guidance.

    DeX-Portrait, Eq. 5: of 35 steps the first S = 5 are made without the expression, which fixes the head's global
    shape, and over the next S it fades in. With t counted from `steps` down to 1 the weight is 0 for t > steps - S,
    then (steps - S - t) / S, then 1. `hold` is S; by default it is scaled to the number of steps, round(steps / 7).
    """
    if not 0 <= step < steps:
        raise ValueError(f"step {step} is none of {steps}")
    held = round(steps / 7) if hold is None else hold
    if held <= 0:
        return 1.0
    t = steps - step
    return min(1.0, max(0.0, (steps - held - t) / held))


def progressive_hybrid(
    unconditional: Tensor, without_expression: Tensor | None, whole: Tensor | None, scale: float, weight: float
) -> Tensor:
    """DeX-Portrait, Eq. 5: (1 - weight) eps~(c without expression) + weight eps~(c), eps~ guided by `scale`.

    Both share the unconditional prediction, and mixing them before guiding is the same. `without_expression` is not
    needed at weight 1, nor `whole` at weight 0: there it is plain classifier-free guidance.
    """
    if weight == 1 and whole is not None:
        return classifier_free(unconditional, whole, scale)
    if weight == 0 and without_expression is not None:
        return classifier_free(unconditional, without_expression, scale)
    if whole is None or without_expression is None:
        raise ValueError(f"at weight {weight} both conditional predictions are needed")
    return classifier_free(unconditional, without_expression + weight * (whole - without_expression), scale)
