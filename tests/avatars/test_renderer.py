from __future__ import annotations

import numpy as np
import pytest

from mien.avatars.camera import HeadMotion, Placement, place, project
from mien.avatars.head_model import EYEBALLS, FACE, TEETH, HeadModel
from mien.avatars.kernels import vertex_normals
from mien.avatars.renderer import Coat, Light, Mesh, look_at, rasterize, shrink

REST = Placement(np.eye(3), np.array([0, 0.9, 80.0]))


def triangle(part: int = 0) -> Mesh:
    index = np.array([[0, 2, 1]], np.int32)
    return Mesh(index, index, np.array([part], np.uint8))


POINTS = np.array([[1.0, 1.0], [15.0, 1.0], [1.0, 15.0]])


def test_attributes_are_interpolated_in_perspective() -> None:
    depth = np.array([10.0, 30.0, 10.0])
    seen = rasterize(triangle(), POINTS, 1 / depth, 16, cull=False)
    z = seen.of_vertices(depth[:, None])[..., 0]
    expected = np.where(seen.covered, 1 / np.maximum(seen.nearest, 1e-9), 0)
    assert seen.covered[2, 2] and not seen.covered[14, 14]
    assert z == pytest.approx(expected, rel=1e-4), "depth interpolated as an attribute is the depth of the z-buffer"


def test_the_nearer_triangle_wins_in_any_order() -> None:
    points = np.concatenate([POINTS, POINTS])
    inverse = np.array([0.1, 0.1, 0.1, 0.2, 0.2, 0.2])
    for order in ([[0, 2, 1], [3, 5, 4]], [[3, 5, 4], [0, 2, 1]]):
        index = np.array(order, np.int32)
        seen = rasterize(Mesh(index, index, np.array([order[0][0], order[1][0]], np.uint8)), points, inverse, 16, False)
        assert set(seen.part()[seen.covered].tolist()) == {3}


def test_backs_are_culled() -> None:
    facing = rasterize(triangle(), POINTS, np.ones(3), 16).covered.any()
    index = np.array([[0, 1, 2]], np.int32)
    away = rasterize(Mesh(index, index, np.zeros(1, np.uint8)), POINTS, np.ones(3), 16).covered.any()
    assert facing and not away


def test_paint_is_texture_times_light_mixed_by_opacity() -> None:
    texture = np.empty((4, 4, 3), np.uint8)
    texture[:] = (200, 100, 50)
    tint = np.tile(np.array([1, 1, 1, 0.5], np.float32), (3, 1))
    image = np.full((16, 16, 3), 20, np.float32)
    seen = rasterize(triangle(), POINTS, np.ones(3), 16)
    seen.paint(image, Coat(np.ones((3, 2), np.float32) * 2, tint, texture), np.full((3, 3), 0.8, np.float32))
    assert image[3, 3] == pytest.approx([90, 50, 30], abs=0.1)
    assert image[14, 14] == pytest.approx([20, 20, 20])


def test_flow_leads_to_where_the_surface_went(model: HeadModel) -> None:
    shape, mesh, size = model.shape(), Mesh.of(model), 96
    here = place(REST, HeadMotion(yaw=-5)).apply(model.posed(shape, model.coefficients()))
    there = place(REST, HeadMotion(yaw=5)).apply(model.posed(shape, model.coefficients(jawOpen=0.4)))
    seen = look_at(mesh, here, size)
    flow = seen.flow(project(there, size))
    nose = model.landmarks[30]
    column, row = project(here[[nose]], size)[0].astype(int)
    exact = project(there[[nose]], size)[0] - project(here[[nose]], size)[0]
    assert flow[row, column] == pytest.approx(exact, abs=0.6)
    assert not flow[~seen.covered].any()


def test_every_part_that_should_be_seen_is_seen(model: HeadModel) -> None:
    points = REST.apply(model.posed(model.shape(), model.coefficients(jawOpen=0.7, mouthUpperUp=0.6)))
    part = look_at(Mesh.of(model), points, 256).part()
    counts = {number: int((part == number).sum()) for number in (FACE, TEETH, *EYEBALLS)}
    assert counts[FACE] > 5000 and counts[TEETH] > 50
    assert min(counts[number] for number in EYEBALLS) > 50


def test_rendering_is_deterministic(model: HeadModel) -> None:
    points = REST.apply(model.posed(model.shape(), model.coefficients(mouthSmile=0.5)))
    first, second = (look_at(Mesh.of(model), points, 128) for _ in range(2))
    assert np.array_equal(first.owner, second.owner)
    assert np.array_equal(first.of_vertices(points), second.of_vertices(points))


def test_normals_of_a_sphere_point_outward(model: HeadModel) -> None:
    shape = model.shape()
    normals = vertex_normals(shape.vertices, model.triangles)
    first, last = model.eye_range[0]
    ways = shape.vertices[first:last] - shape.eye_centres[0]
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    assert float(np.median((normals[first:last] * ways).sum(1))) > 0.95


def test_a_lamp_lights_what_faces_it() -> None:
    light = Light.lamps(0.5, ((np.array([0, 0, -1.0]), 0.5),))
    toward, away = light.on(np.array([[0, 0, -1.0], [0, 0, 1.0]], np.float32))
    assert toward == pytest.approx([1, 1, 1], abs=0.05), "order 2 errs by a few percent"
    assert away == pytest.approx([0.5, 0.5, 0.5], abs=0.05)


def test_random_light_comes_from_its_seed() -> None:
    first, second, other = (Light.random(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.harmonics, second.harmonics)
    assert not np.array_equal(first.harmonics, other.harmonics)


def test_shrink_averages() -> None:
    image = np.zeros((4, 4, 3), np.float32)
    image[::2, ::2] = 200
    assert (shrink(image, 2) == 50).all()
