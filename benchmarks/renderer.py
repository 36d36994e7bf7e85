"""Frames per second of the avatar renderer on one core: `python benchmarks/renderer.py HEAD_MODEL [AVATAR]`.

Seconds of CPU are measured, not of the clock, so that other work on the machine does not count; a dataset worker a core
makes the rate of n cores n times this.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mien.avatars.camera import HeadMotion, Placement, place
from mien.avatars.cast import load_member
from mien.avatars.groups import Actor
from mien.avatars.head_model import load_head_model
from mien.avatars.kernels import vertex_normals
from mien.avatars.people import RandomPerson
from mien.avatars.renderer import Light, Mesh, look_at


def rate(step: Callable[[int], object], frames: int = 100) -> float:
    """Frames per second of CPU time of step(0), step(1), ..."""
    step(0)  # compiles
    start = time.process_time()
    for index in range(frames):
        step(index)
    return frames / (time.process_time() - start)


def main() -> None:
    """Print one line a scene."""
    model = load_head_model(Path(sys.argv[1]))
    rng = np.random.default_rng(0)
    shape, mesh, rest = model.shape(rng.normal(size=60)), Mesh.of(model), Placement(np.eye(3), np.array([0, 0.9, 80.0]))
    expressions = np.clip(rng.normal(size=(16, 57)) * 0.4, 0, 1).astype(np.float32)
    light = Light.random(rng)

    def head(index: int, size: int) -> None:
        motion = HeadMotion(yaw=(index * 7) % 40 - 20, pitch=index % 11 - 5)
        points = place(rest, motion).apply(model.posed(shape, expressions[index % 16]))
        lit = light.on(vertex_normals(points, model.triangles))
        seen = look_at(mesh, points, size)
        seen.of_corners(np.column_stack([model.corner_uv, lit[model.corner_vertex]]))

    for size in (256, 512):
        speed = rate(lambda index, size=size: head(index, size))
        print(f"mesh with eyes and teeth, texture coordinates and light, {size} px: {speed:.0f} /s")
    people: dict[str, Actor] = {"random person": RandomPerson(model, 7001)}
    if len(sys.argv) > 2:
        people["photo avatar with its surroundings"] = load_member(Path(sys.argv[2])).avatar(model)
    for name, person in people.items():
        for supersample in (1, 2):

            def view(index: int, person: Actor = person, supersample: int = supersample) -> None:
                motion = HeadMotion(yaw=(index * 7) % 40 - 20, pitch=index % 11 - 5)
                person.render(expressions[index % 16], motion, 256, supersample)

            print(f"{name}, 256 px, {supersample} x supersampled: {rate(view, 50):.0f} /s")


if __name__ == "__main__":
    main()
