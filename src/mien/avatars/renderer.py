"""From points in front of the camera to pixels: a z-buffer with attributes, light, texture, and averaging down.

Deterministic, on one core. Pictures are anti-aliased by drawing them larger and averaging (`shrink`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars import kernels
from mien.avatars.camera import Floats, project
from mien.avatars.head_model import HeadModel


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles over vertices and, where texture seams split those, over corners.

    Attributes:
        triangles: [m, 3], vertices.
        corners: [m, 3], corners.
        part: what each is [m].
    """

    triangles: NDArray[np.int32]
    corners: NDArray[np.int32]
    part: NDArray[np.uint8]

    @classmethod
    def of(cls, model: HeadModel, parts: tuple[int, ...] = tuple(range(9))) -> Mesh:
        """Some parts of the head."""
        kept = np.isin(model.triangle_part, parts)
        return cls(
            np.ascontiguousarray(model.triangles[kept]),
            np.ascontiguousarray(model.corners[kept]),
            model.triangle_part[kept],
        )


@dataclass(frozen=True, eq=False)
class Fragments:
    """What is in front at every pixel; see `kernels.fill_triangles`.

    Attributes:
        mesh: what was drawn.
        owner: the triangle [h, w], -1 where there is none.
        nearest: 1/z [h, w] in 1/cm, 0 where there is none.
        weights: barycentrics [h, w, 2].
        inverse_depth: 1/z of the vertices [v].
    """

    mesh: Mesh
    owner: NDArray[np.int32]
    nearest: Floats
    weights: Floats
    inverse_depth: Floats

    @property
    def covered(self) -> NDArray[np.bool_]:
        """[h, w]: whether any triangle is seen."""
        return self.owner >= 0

    def part(self) -> NDArray[np.uint8]:
        """[h, w]: the part of the head that is seen, 255 where there is none."""
        return np.where(self.covered, self.mesh.part[np.maximum(self.owner, 0)], 255).astype(np.uint8)

    def of_vertices(self, values: NDArray[np.floating]) -> Floats:
        """Values of the vertices at every pixel, in perspective; 0 where there is none.

        Args:
            values: [v, c].

        Returns:
            [h, w, c].
        """
        return self._interpolate(values, self.mesh.triangles)

    def of_corners(self, values: NDArray[np.floating]) -> Floats:
        """Values of the corners (texture coordinates, mostly) at every pixel.

        Args:
            values: [n, c].

        Returns:
            [h, w, c].
        """
        return self._interpolate(values, self.mesh.corners)

    def flow(self, elsewhere: NDArray[np.floating]) -> Floats:
        """How far what is seen at each pixel lies in another frame.

        Args:
            elsewhere: the vertices there [v, 2], pixels.

        Returns:
            [h, w, 2], pixels.
        """
        height, width = self.owner.shape
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        here = np.stack([x, y], 2).astype(np.float32)
        return np.where(self.covered[..., None], self.of_vertices(elsewhere) - here, 0).astype(np.float32)

    def paint(self, image: Floats, coat: Coat, light: Floats) -> None:
        """Paint a coat over a picture, in place.

        Args:
            image: [h, w, 3], 0 to 255, changed.
            coat: of the mesh.
            light: of the vertices [v, 3]; 1: as the texture is.
        """
        mesh = self.mesh
        kernels.shade(
            self.owner,
            self.weights,
            self.inverse_depth,
            mesh.triangles,
            mesh.corners,
            coat.places,
            np.ascontiguousarray(light, np.float32),
            coat.tint,
            coat.texture,
            image,
        )

    def _interpolate(self, values: NDArray[np.floating], corners: NDArray[np.int32]) -> Floats:
        flat = np.ascontiguousarray(values, np.float32)
        out = np.zeros((*self.owner.shape, flat.shape[1]), np.float32)
        kernels.interpolate(self.owner, self.weights, self.inverse_depth, self.mesh.triangles, corners, flat, out)
        return out


@dataclass(frozen=True, eq=False)
class Coat:
    """How a mesh is coloured.

    Attributes:
        places: of its corners in the texture [n, 2], texels.
        tint: a factor for the texture's RGB, and opacity [n, 4].
        texture: uint8 [h, w, 3].
    """

    places: Floats
    tint: Floats
    texture: NDArray[np.uint8]


def rasterize(
    mesh: Mesh, points: NDArray[np.floating], inverse_depth: NDArray[np.floating], size: int, cull: bool = True
) -> Fragments:
    """Fragments of a square picture.

    Args:
        mesh: to draw.
        points: of its vertices [v, 2], pixels.
        inverse_depth: of its vertices [v].
        size: side of the picture, pixels.
        cull: drop what shows its back.
    """
    owner = np.full((size, size), -1, np.int32)
    nearest, weights = np.zeros((size, size), np.float32), np.empty((size, size, 2), np.float32)
    flat = np.ascontiguousarray(points, np.float32)
    depth = np.ascontiguousarray(inverse_depth, np.float32)
    kernels.fill_triangles(flat, depth, mesh.triangles, cull, owner, nearest, weights)
    return Fragments(mesh, owner, nearest, weights, depth)


def look_at(mesh: Mesh, points: NDArray[np.floating], size: int, cull: bool = True) -> Fragments:
    """Fragments as the camera of `mien.avatars.camera` sees them.

    Args:
        mesh: to draw.
        points: its vertices in the camera [v, 3], cm.
        size: side of the picture, pixels.
        cull: drop what shows its back.
    """
    return rasterize(mesh, project(points, size), 1 / points[:, 2], size, cull)


def shrink(image: Floats, size: int) -> NDArray[np.uint8]:
    """A picture averaged down.

    Args:
        image: [h, h, 3], 0 to 255.
        size: side of the result, pixels.

    Returns:
        uint8 [size, size, 3].
    """
    if image.shape[0] != size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Light:
    """Light from all around as spherical harmonics of order 2, already convolved with the clamped cosine.

    Ramamoorthi and Hanrahan, "An efficient representation for irradiance environment maps", 2001. Directions are the
    camera's (x right, y down, z into the scene), so that (0, 0, -1) lights a face from the front.

    Attributes:
        harmonics: [9, 3].
        key: unit direction of the brightest lamp [3], for highlights.
    """

    harmonics: Floats
    key: Floats

    @classmethod
    def lamps(
        cls,
        ambient: float,
        lamps: tuple[tuple[NDArray[np.floating], float], ...],
        colour: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> Light:
        """Even light plus lamps far away.

        Args:
            ambient: the even light.
            lamps: a direction towards each [3], and its strength.
            colour: of the lamps, RGB.
        """
        total = np.zeros((9, 3))
        total[0] = ambient / 0.282095
        bands = np.repeat([np.pi, 2 * np.pi / 3, np.pi / 4], [1, 3, 5])  # the clamped cosine's share of each band
        units = [np.asarray(way, np.float64) / np.linalg.norm(way) for way, _ in lamps]
        for unit, (_, strength) in zip(units, lamps, strict=True):
            total += (bands * _harmonics(unit[None])[0])[:, None] * strength * np.array(colour)
        key = units[int(np.argmax([strength for _, strength in lamps]))] if lamps else np.array([0.0, 0.0, -1.0])
        return cls(total.astype(np.float32), key.astype(np.float32))

    @classmethod
    def random(cls, rng: np.random.Generator) -> Light:
        """A key light from above or the side and a weaker one; white to a little coloured."""
        key = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.1), -rng.uniform(0.5, 1)])
        side = np.array([rng.uniform(-1, 1), -0.3, -0.2])
        strength = rng.uniform(0.3, 0.65)
        colour = np.clip(1 + rng.normal(size=3) * 0.06, 0.8, 1.2)
        lamps = ((key, strength), (side, rng.uniform(0.05, 0.2)))
        return cls.lamps(rng.uniform(0.45, 0.62), lamps, (float(colour[0]), float(colour[1]), float(colour[2])))

    def on(self, normals: Floats) -> Floats:
        """Irradiance on surfaces, >= 0; 1 leaves a texture as it is.

        Args:
            normals: unit normals [n, 3].

        Returns:
            [n, 3].
        """
        return np.maximum(_harmonics(normals).astype(np.float32) @ self.harmonics, 0)


def _harmonics(ways: NDArray[np.floating]) -> NDArray[np.floating]:
    """The nine real spherical harmonics [n, 9] of order up to 2 in directions [n, 3]."""
    x, y, z = ways.T
    one = np.full_like(x, 0.282095)
    first = [0.488603 * y, 0.488603 * z, 0.488603 * x]
    second = [1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z]
    return np.stack([one, *first, *second, 0.546274 * (x * x - y * y)], 1)
