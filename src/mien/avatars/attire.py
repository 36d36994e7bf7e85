"""What random people wear: shoulders with clothes, and glasses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats
from mien.avatars.head_model import HeadShape

_AROUND = 40  # points of a ring
# Rings of the shoulders: height, half width, half depth, middle front to back, cm.
_TORSO = np.array(
    [
        [-10.8, 5.9, 5.6, -1.6],
        [-12.6, 7.2, 6.4, -2.0],
        [-14.2, 11.5, 7.4, -2.4],
        [-16.0, 16.5, 8.2, -2.8],
        [-19.0, 19.5, 9.0, -3.2],
        [-26.0, 21.0, 10.0, -3.6],
        [-38.0, 21.5, 11.0, -3.6],
    ]
)


@dataclass(frozen=True, eq=False)
class Accessory:
    """Something that is worn.

    Attributes:
        vertices: [k, 3], cm in the head's axes.
        triangles: [t, 3].
        colour: [k, 3]; 1 is 255.
        turns: with the head, or not.
    """

    vertices: Floats
    triangles: NDArray[np.int32]
    colour: Floats
    turns: bool


def shoulders(colour: tuple[float, float, float], rng: np.random.Generator) -> Accessory:
    """A torso in plain or striped clothes of some width.

    Args:
        colour: of the clothes, RGB, 0 to 255.
        rng: draws width, height and stripes.
    """
    profile = _TORSO.copy()
    profile[:, 1] *= rng.uniform(0.85, 1.12)
    profile[0, 1] = _TORSO[0, 1]
    profile[2:, 0] += rng.uniform(-1.0, 1.2)
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    rings = [
        np.column_stack([w * np.sin(angle), np.full(_AROUND, y), middle + d * np.cos(angle)])
        for y, w, d, middle in profile
    ]
    vertices = np.concatenate(rings).astype(np.float32)
    triangles = _strip(len(profile), closed=True)
    base = np.tile(np.array(colour, np.float32) / 255, (len(vertices), 1))
    if rng.random() < 0.3:
        stripes = np.arange(len(vertices)) // int(rng.integers(1, 5)) % 2
        base *= (1 - rng.uniform(0.2, 0.6) * stripes)[:, None].astype(np.float32)
    base *= (1 + 0.04 * rng.normal(size=(len(base), 1))).astype(np.float32)
    return Accessory(vertices, triangles, np.clip(base, 0, 1), turns=False)


def glasses(shape: HeadShape, colour: tuple[float, float, float], rng: np.random.Generator) -> Accessory:
    """Frames around the eyes, a bridge and two arms; without lenses.

    Args:
        shape: who wears them.
        colour: of the frames, RGB, 0 to 255.
        rng: draws their form.
    """
    height, round_ = rng.uniform(1.7, 2.3), rng.uniform(2.0, 4.0)
    half_width, thick = rng.uniform(2.5, 2.9), rng.uniform(0.12, 0.32)
    front = float(shape.eye_centres[:, 2].mean()) + 3.0
    parts = []
    angle = np.linspace(0, 2 * np.pi, _AROUND + 1)
    for centre in shape.eye_centres:
        # A superellipse: round for 2, nearly a rectangle for 4.
        x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / round_)
        y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / round_)
        middle = np.array([np.sign(centre[0]) * (half_width + 0.75), centre[1] - 0.25])
        inner = np.column_stack([middle[0] + half_width * x, middle[1] + height * y])
        outer = np.column_stack([middle[0] + (half_width + thick) * x, middle[1] + (height + thick) * y])
        parts.append(_ribbon(_curved(inner, front), _curved(outer, front)))
    eye_height = float(shape.eye_centres[:, 1].mean())
    across = np.column_stack([np.linspace(-0.9, 0.9, 7), np.full(7, eye_height + 0.2)])
    parts.append(_ribbon(_curved(across, front), _curved(across + [0, 1.2 * thick], front)))
    for sign in (-1, 1):
        hinge = sign * (2 * half_width + 0.75 + thick)
        begin = _curved(np.array([[hinge, eye_height + 0.6]]), front)[0]
        line = np.linspace(begin, np.array([sign * 8.2, eye_height + 0.4, 1.0]), 8)
        parts.append(_ribbon(line, line + [0, 1.5 * thick, 0]))
    vertices, triangles, count = [], [], 0
    for points, index in parts:
        vertices.append(points)
        triangles.append(index + count)
        count += len(points)
    whole = np.concatenate(vertices).astype(np.float32)
    tone = np.tile(np.array(colour) / 255, (len(whole), 1)).astype(np.float32)
    return Accessory(whole, np.concatenate(triangles).astype(np.int32), tone, turns=True)


def _curved(flat: NDArray[np.floating], front: float) -> NDArray[np.floating]:
    """Points [k, 2] laid on a front that bends back to the sides, [k, 3]."""
    return np.column_stack([flat, front - 0.03 * flat[:, 0] ** 2])


def _ribbon(
    first: NDArray[np.floating], second: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
    """A strip between two lines [k, 3], seen from both sides."""
    points = np.concatenate([first, second])
    triangles = _strip(2, closed=False, length=len(first))
    return points, np.concatenate([triangles, triangles[:, ::-1]])


def _strip(rows: int, closed: bool, length: int = _AROUND) -> NDArray[np.int32]:
    """Triangles between rows of `length` points each; closed: the last point of a row meets its first."""
    here = np.arange(length if closed else length - 1)
    there = (here + 1) % length
    found = []
    for row in range(rows - 1):
        a, b, c, d = row * length + here, row * length + there, (row + 1) * length + here, (row + 1) * length + there
        found += [np.column_stack([a, c, b]), np.column_stack([b, c, d])]
    return np.concatenate(found).astype(np.int32)
