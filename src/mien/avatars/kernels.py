"""The inner loops, compiled by numba: triangles to pixels, attributes to pixels, shading, normals, blending shapes.

Deterministic: every loop runs in one thread, in the order of its input. Whole people are spread over processes instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
_TOLERANCE = -1e-5  # on barycentric weights: no cracks between neighbours


def _compiled(function: Function) -> Function:
    try:
        return _jit(function, cache=True)
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        return _jit(function, cache=False)


def _jit(function: Function, cache: bool) -> Function:
    return numba.njit(nogil=True, fastmath=True, cache=cache, error_model="numpy")(function)  # type: ignore[return-value]


@_compiled
def fill_triangles(
    points: NDArray[np.float32],
    inverse_depth: NDArray[np.float32],
    triangles: NDArray[np.int32],
    cull: bool,
    owner: NDArray[np.int32],
    nearest: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> None:
    """Z-buffer; fills `owner`, `nearest` and `weights`.

    Args:
        points: [n, 2], pixels.
        inverse_depth: 1/z of the points [n].
        triangles: [m, 3], points.
        cull: leave out triangles that show their back.
        owner: the triangle in front [h, w]; -1: none, as given.
        nearest: its 1/z [h, w]; larger values win.
        weights: barycentrics, on the screen, of its second and third corner [h, w, 2].
    """
    height, width = owner.shape
    for m in range(triangles.shape[0]):
        a, b, c = triangles[m, 0], triangles[m, 1], triangles[m, 2]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0 or (cull and area > 0):
            continue
        left, right = max(0, int(np.ceil(min(x0, x1, x2) - 0.5))), min(width - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2) - 0.5))), min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        if left > right or top > bottom:
            continue
        inverse = 1.0 / area
        z0, z1, z2 = inverse_depth[a], inverse_depth[b], inverse_depth[c]
        step1x, step1y = (y2 - y0) * inverse, -(x2 - x0) * inverse
        step2x, step2y = -(y1 - y0) * inverse, (x1 - x0) * inverse
        for y in range(top, bottom + 1):
            dy = y + 0.5 - y0
            for x in range(left, right + 1):
                dx = x + 0.5 - x0
                w1 = dx * step1x + dy * step1y
                w2 = dx * step2x + dy * step2y
                w0 = 1 - w1 - w2
                if w0 < _TOLERANCE or w1 < _TOLERANCE or w2 < _TOLERANCE:
                    continue
                z = w0 * z0 + w1 * z1 + w2 * z2
                if z > nearest[y, x]:
                    nearest[y, x], owner[y, x] = z, m
                    weights[y, x, 0], weights[y, x, 1] = w1, w2


@_compiled
def interpolate(
    owner: NDArray[np.int32],
    weights: NDArray[np.float32],
    inverse_depth: NDArray[np.float32],
    triangles: NDArray[np.int32],
    corners: NDArray[np.int32],
    values: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Perspective-correct values of the corners at every pixel a triangle owns.

    `triangles` index `inverse_depth`, `corners` index `values`; they differ where a seam splits vertices.

    Args:
        owner: see `fill_triangles`.
        weights: see `fill_triangles`.
        inverse_depth: see `fill_triangles`.
        triangles: [m, 3].
        corners: [m, 3].
        values: [n, c].
        out: [h, w, c], filled.
    """
    height, width = owner.shape
    for y in range(height):
        for x in range(width):
            m = owner[y, x]
            if m < 0:
                continue
            w1 = weights[y, x, 0] * inverse_depth[triangles[m, 1]]
            w2 = weights[y, x, 1] * inverse_depth[triangles[m, 2]]
            w0 = (1 - weights[y, x, 0] - weights[y, x, 1]) * inverse_depth[triangles[m, 0]]
            whole = 1.0 / (w0 + w1 + w2)
            a, b, c = corners[m, 0], corners[m, 1], corners[m, 2]
            for k in range(values.shape[1]):
                out[y, x, k] = (w0 * values[a, k] + w1 * values[b, k] + w2 * values[c, k]) * whole


@_compiled
def shade(
    owner: NDArray[np.int32],
    weights: NDArray[np.float32],
    inverse_depth: NDArray[np.float32],
    triangles: NDArray[np.int32],
    corners: NDArray[np.int32],
    places: NDArray[np.float32],
    light: NDArray[np.float32],
    tint: NDArray[np.float32],
    texture: NDArray[np.uint8],
    image: NDArray[np.float32],
) -> None:
    """Paint the owned pixels: texture * tint * light, mixed in by opacity.

    Args:
        owner: see `fill_triangles`.
        weights: see `fill_triangles`.
        inverse_depth: see `fill_triangles`.
        triangles: [m, 3].
        corners: [m, 3].
        places: texels of the corners [n, 2].
        light: of the vertices [v, 3].
        tint: of the corners [n, 4]: a factor for RGB, and opacity.
        texture: [h', w', 3].
        image: [h, w, 3], 0 to 255, changed.
    """
    height, width = owner.shape
    rows, columns = texture.shape[0], texture.shape[1]
    for y in range(height):
        for x in range(width):
            m = owner[y, x]
            if m < 0:
                continue
            i, j, k = triangles[m, 0], triangles[m, 1], triangles[m, 2]
            w1, w2 = weights[y, x, 0] * inverse_depth[j], weights[y, x, 1] * inverse_depth[k]
            w0 = (1 - weights[y, x, 0] - weights[y, x, 1]) * inverse_depth[i]
            whole = 1.0 / (w0 + w1 + w2)
            w0, w1, w2 = w0 * whole, w1 * whole, w2 * whole
            a, b, c = corners[m, 0], corners[m, 1], corners[m, 2]
            u = w0 * places[a, 0] + w1 * places[b, 0] + w2 * places[c, 0] - 0.5
            v = w0 * places[a, 1] + w1 * places[b, 1] + w2 * places[c, 1] - 0.5
            u, v = min(max(u, 0.0), columns - 1.001), min(max(v, 0.0), rows - 1.001)
            left, top = int(u), int(v)
            fu, fv = u - left, v - top
            t00, t01, t10, t11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
            opacity = w0 * tint[a, 3] + w1 * tint[b, 3] + w2 * tint[c, 3]
            if opacity <= 0.002:
                continue
            low, right = top + 1, left + 1
            for n in range(3):
                colour = t00 * texture[top, left, n] + t01 * texture[top, right, n]
                colour += t10 * texture[low, left, n] + t11 * texture[low, right, n]
                colour *= w0 * tint[a, n] + w1 * tint[b, n] + w2 * tint[c, n]
                colour *= w0 * light[i, n] + w1 * light[j, n] + w2 * light[k, n]
                image[y, x, n] += opacity * (colour - image[y, x, n])


@_compiled
def vertex_normals(points: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit normals, averaged over the triangles around each point by area.

    Args:
        points: [n, 3].
        triangles: [m, 3].

    Returns:
        [n, 3].
    """
    normals = np.zeros_like(points)
    for m in range(triangles.shape[0]):
        a, b, c = triangles[m, 0], triangles[m, 1], triangles[m, 2]
        e0, e1, e2 = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        f0, f1, f2 = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        g0, g1, g2 = e1 * f2 - e2 * f1, e2 * f0 - e0 * f2, e0 * f1 - e1 * f0
        for i in (a, b, c):
            normals[i, 0] += g0
            normals[i, 1] += g1
            normals[i, 2] += g2
    for i in range(normals.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        normals[i, 0] /= length
        normals[i, 1] /= length
        normals[i, 2] /= length
    return normals


@_compiled
def add_shapes(
    vertices: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    starts: NDArray[np.int64],
    moved: NDArray[np.int32],
    deltas: NDArray[np.float32],
) -> None:
    """Add sparse shapes to vertices, in place: shape i moves moved[starts[i]:starts[i + 1]].

    Args:
        vertices: [n, 3], changed.
        coefficients: of the shapes [k].
        starts: [k + 1].
        moved: vertices [s].
        deltas: their displacements [s, 3].
    """
    for i in range(coefficients.shape[0]):
        amount = coefficients[i]
        if abs(amount) < 1e-4:
            continue
        for j in range(starts[i], starts[i + 1]):
            vertex = moved[j]
            vertices[vertex, 0] += amount * deltas[j, 0]
            vertices[vertex, 1] += amount * deltas[j, 1]
            vertices[vertex, 2] += amount * deltas[j, 2]


@_compiled
def mix_gathered(
    values: NDArray[np.float32],
    triples: NDArray[np.int32],
    shares: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """The sum over three of values[triples[n, k]] * shares[n, k]; rows whose shares are 0 become 0.

    Args:
        values: [m, c].
        triples: [n, 3].
        shares: [n, 3].
        out: [n, c], filled.
    """
    for n in range(triples.shape[0]):
        for k in range(values.shape[1]):
            out[n, k] = (
                shares[n, 0] * values[triples[n, 0], k]
                + shares[n, 1] * values[triples[n, 1], k]
                + shares[n, 2] * values[triples[n, 2], k]
            )


@_compiled
def add_gloss(
    owner: NDArray[np.int32],
    weights: NDArray[np.float32],
    triangles: NDArray[np.int32],
    normals: NDArray[np.float32],
    half_way: NDArray[np.float32],
    strength: NDArray[np.float32],
    sharpness: NDArray[np.float32],
    image: NDArray[np.float32],
) -> None:
    """Blinn's highlight: image += strength * (normal . half_way) ** sharpness.

    Args:
        owner: see `fill_triangles`.
        weights: see `fill_triangles`.
        triangles: [m, 3].
        normals: of the vertices [v, 3].
        half_way: unit vector between light and camera [3].
        strength: of each triangle [m].
        sharpness: of each triangle [m].
        image: [h, w, 3], 0 to 255, changed.
    """
    for y in range(owner.shape[0]):
        for x in range(owner.shape[1]):
            m = owner[y, x]
            if m < 0 or strength[m] == 0:
                continue
            a, b, c = triangles[m, 0], triangles[m, 1], triangles[m, 2]
            w1, w2 = weights[y, x, 0], weights[y, x, 1]
            w0 = 1 - w1 - w2
            n0 = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
            n1 = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
            n2 = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
            facing = (n0 * half_way[0] + n1 * half_way[1] + n2 * half_way[2]) / np.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
            if facing > 0:
                amount = strength[m] * facing ** sharpness[m]
                image[y, x, 0] += amount
                image[y, x, 1] += amount
                image[y, x, 2] += amount
