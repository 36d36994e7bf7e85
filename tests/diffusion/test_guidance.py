"""Progressive hybrid guidance step by step against a table written by hand (DeX-Portrait)."""

from __future__ import annotations

import pytest
import torch

from mien.diffusion import classifier_free, expression_weight, progressive_hybrid

U, P, C = (torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
W = 2.5


def table(t: int) -> torch.Tensor:
    """The paper's 35 steps, t from 35 down to 1, as the table has them."""
    without, whole = W * P + (1 - W) * U, W * C + (1 - W) * U
    if t > 30:
        return without
    if t > 25:
        return (t - 25) / 5 * without + (30 - t) / 5 * whole
    return whole


@pytest.mark.parametrize("t", range(1, 36))
def test_the_table_of_35_steps(t: int) -> None:
    weight = expression_weight(35 - t, 35)
    got = progressive_hybrid(U, P, C, W, weight)
    torch.testing.assert_close(got, table(t))
    if t <= 25:
        assert torch.equal(got, classifier_free(U, C, W))
        assert torch.equal(progressive_hybrid(U, None, C, W, weight), got)


def test_six_steps_without_expression_then_four_that_fade() -> None:
    weights = [expression_weight(step, 35) for step in range(35)]
    assert weights[:6] == [0] * 6
    assert weights[6:10] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert weights[10:] == [1] * 25
    # evaluations: null at every step, without expression where it has weight, whole where it has weight
    assert 35 + sum(w < 1 for w in weights) + sum(w > 0 for w in weights) == 74


@pytest.mark.parametrize(("steps", "held"), [(1, 0), (3, 0), (4, 1), (10, 1), (20, 3), (50, 7), (70, 10)])
def test_the_hold_grows_with_the_steps(steps: int, held: int) -> None:
    weights = [expression_weight(step, steps) for step in range(steps)]
    assert weights == sorted(weights)
    assert all(0 <= weight <= 1 for weight in weights)
    assert weights[-1] == 1
    # the held steps, and the first one of the fade, whose weight is 0 too
    assert sum(weight == 0 for weight in weights) == (held + 1 if held else 0)
    assert [expression_weight(step, steps, held) for step in range(steps)] == weights


def test_any_weight_lies_on_the_line_between_both() -> None:
    got = progressive_hybrid(U, P, C, W, 0.3)
    torch.testing.assert_close(got, 0.7 * classifier_free(U, P, W) + 0.3 * classifier_free(U, C, W))


def test_unusable_calls_say_why() -> None:
    with pytest.raises(ValueError, match="step 35"):
        expression_weight(35, 35)
    with pytest.raises(ValueError, match="both"):
        progressive_hybrid(U, None, C, W, 0.5)
