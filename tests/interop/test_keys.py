"""The names of the published full-size model, on the meta device."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from mien.interop import constants
from mien.interop.keys import PREFIXES, key_map
from mien.interop.official_config import config_from_shapes
from mien.interop.x_portrait import TEXT_ENCODER
from mien.models.x_portrait import SD15
from parity.official_model import OFFICIAL, official_shapes

pytestmark = pytest.mark.parity

HINT_BLOCK = "appearance_control_model.input_hint_block."


@pytest.fixture(scope="module")
def full() -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of the published checkpoint."""
    lines = (Path(__file__).parents[1] / "parity/kit/keys_full.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {name: tuple(int(side) for side in shape.split("x")) for name, shape, *_ in rows}


def test_every_published_key_is_used_or_known(full: dict[str, tuple[int, ...]]) -> None:
    ours = key_map(SD15)
    assert set(ours) <= set(full)
    rest = {name for name in set(full) - set(ours) if not constants.is_constant(name)}
    assert {name for name in rest if not name.startswith((HINT_BLOCK, TEXT_ENCODER))} == set()
    assert sum(name.startswith(HINT_BLOCK) for name in rest) == 16


def test_shapes_agree(full: dict[str, tuple[int, ...]]) -> None:
    differing = {name: t for name, t in key_map(SD15).items() if t.shape != full[name]}
    # the VAE's attention: 1 x 1 convolutions there, linear layers here
    assert all(t.part == "vae" and full[name] == (*t.shape, 1, 1) for name, t in differing.items())
    assert len(differing) == 8


def test_names_are_a_bijection() -> None:
    targets = key_map(SD15)
    assert len({(t.part, t.name) for t in targets.values()}) == len(targets)


def test_parameters_per_part_are_the_published_ones(full: dict[str, tuple[int, ...]]) -> None:
    ours: Counter[str] = Counter()
    for target in key_map(SD15).values():
        ours[target.part] += prod(target.shape)
    published: Counter[str] = Counter()
    for name, shape in full.items():
        if not constants.is_constant(name):
            part = "temporal" if "_motion_module." in name else _part(name)
            published[part] += prod(shape)
    hint_block = sum(prod(shape) for name, shape in full.items() if name.startswith(HINT_BLOCK))
    published["appearance_reference"] -= hint_block
    del published["text_encoder"]
    assert ours == published
    assert [round(ours[part] / 1e6, 1) for part in ("unet", "temporal", "motion_control")] == [859.5, 417.1, 361.3]


def test_sizes_are_read_off_the_published_shapes(full: dict[str, tuple[int, ...]]) -> None:
    assert config_from_shapes(full) == replace(SD15, name="official")


def test_sizes_are_read_off_other_shapes() -> None:
    got = config_from_shapes(official_shapes(), heads=4, temporal_heads=2, image_size=48, context_tokens=5)
    assert got == OFFICIAL


def _part(name: str) -> str:
    if name.startswith(TEXT_ENCODER):
        return "text_encoder"
    return next(part for part, prefix in PREFIXES.items() if name.startswith(prefix))
