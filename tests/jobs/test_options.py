from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mien.errors import InputError
from mien.jobs.options import AnimateOptions
from mien.options import number_or, parse_rate


def options(**changes: Any) -> AnimateOptions:
    return AnimateOptions(
        **{"portraits": (Path("a.png"),), "driver": Path("b.mp4"), "output": Path("c.mp4"), **changes}
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"portraits": ()},
        {"steps": 0},
        {"steps": -3},
        {"steps": 1001},
        {"steps": True},
        {"guidance": float("nan")},
        {"guidance": float("inf")},
        {"guidance": -1.0},
        {"seed": -1},
        {"seed": 2**63},
        {"window": 0},
        {"overlap": -1},
        {"window": 8, "overlap": 8},
        {"best_frame": -1},
        {"best_frame": "first"},
        {"face": -1},
        {"face": "both"},
        {"eyes_gain": -0.1},
        {"mouth_gain": 4.5},
        {"brows_gain": float("nan")},
        {"head_gain": float("inf")},
        {"smooth": 1.1},
        {"start": -1.0},
        {"end": 0.0},
        {"start": 2.0, "end": 2.0},
        {"fps": Fraction(0)},
        {"fps": Fraction(2000)},
        {"device": "tpu"},
        {"dtype": "int8"},
        {"fast": True, "steps": 51},
        {"lora": Path("a.safetensors")},
    ],
)
def test_senseless_values_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        options(**changes)
    named = next(reversed(changes))
    shown = {"portraits": "portrait", "window": "overlap" if "overlap" in changes else "window"}.get(named, named)
    assert shown.replace("_", "-") in str(caught.value)


def test_extremes_are_accepted() -> None:
    made = options(
        steps=1000,
        guidance=0.0,
        seed=2**63 - 1,
        window=1,
        overlap=0,
        best_frame=0,
        fps=Fraction(30000, 1001),
        face="all",
        mouth_gain=4,
        smooth=1.0,
        start=0.0,
        end=1e-3,
    )
    assert made.guidance == 0.0


@pytest.mark.parametrize(
    ("text", "rate"), [("25", Fraction(25)), ("29.97", Fraction(2997, 100)), ("30000/1001", Fraction(30000, 1001))]
)
def test_rates_are_exact(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "", "25/0", "nan", "inf", "1/2/3"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--fps"):
        parse_rate(text)


def test_best_frame() -> None:
    parse_best_frame = number_or("auto", "--best-frame")
    assert parse_best_frame("auto") == "auto"
    assert parse_best_frame("12") == 12
    with pytest.raises(InputError, match="--best-frame"):
        parse_best_frame("last")
