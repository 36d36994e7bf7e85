"""Random people: a head of random shape with painted skin, hair or a hat, perhaps glasses, shoulders, light, a room.

They look like good computer graphics, not like photographs: right for geometry, motion and variety.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars import kernels
from mien.avatars.attire import Accessory, glasses, shoulders
from mien.avatars.camera import Floats, HeadMotion, Placement, place
from mien.avatars.eyes import EYE_SIDE, EyeColours, paint_eye
from mien.avatars.head_model import EYEBALLS, FACE, GUMS, HEAD, TEETH, HeadModel, HeadShape
from mien.avatars.photo import View, lid_gains, make_view, neutral_keypoints
from mien.avatars.renderer import Coat, Light, Mesh, look_at, shrink
from mien.avatars.skin import IRISES, Colour, FaceTraits, paint_face, random_background
from mien.avatars.texture import atlas_places, empty_atlas, part_tint
from mien.geometry.smooth import smooth_step

_ATLAS = 512
_IDENTITIES = 60  # coefficients of the shape; what a packed cast holds
# Where the hair ends at the back, cm above the neck's pivot, by style: short, cropped, to the nape, long, bob.
_BACK_LINES = (-1.0, -3.0, -8.0, -14.0, 2.0)
_ACCESSORY = 200  # the part number of what is not the head


@dataclass(frozen=True)
class PersonTraits:
    """Everything random about a person but the shape of the head.

    Attributes:
        face: see `FaceTraits`.
        iris: colour, RGB, 0 to 255.
        iris_radius: degrees.
        pupil: part of the iris.
        hair_style: a row of the back lines, -1: bald.
        hair_volume: thickness, cm.
        hair_line: where hair begins above the forehead, cm in the head's axes.
        hat: its colour, None: none.
        glasses: the frame's colour, None: none.
        clothes: their colour.
        depth: cm from the camera.
        low: cm that the head lies below the picture's middle.
    """

    face: FaceTraits
    iris: Colour
    iris_radius: float
    pupil: float
    hair_style: int
    hair_volume: float
    hair_line: float
    hat: Colour | None
    glasses: Colour | None
    clothes: Colour
    depth: float
    low: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> PersonTraits:
        """Anybody."""
        face = FaceTraits.random(rng)
        return cls(
            face=face,
            iris=IRISES[rng.integers(len(IRISES))],
            iris_radius=rng.uniform(20, 24),
            pupil=rng.uniform(0.3, 0.5),
            hair_style=int(rng.integers(len(_BACK_LINES))) if rng.random() > 0.06 else -1,
            hair_volume=rng.uniform(0.5, 1.8),
            hair_line=rng.uniform(9.2, 10.4),
            hat=_colour(rng) if rng.random() < 0.12 else None,
            glasses=(_colour(rng) if rng.random() < 0.5 else (25.0, 22.0, 20.0)) if rng.random() < 0.18 else None,
            clothes=_colour(rng),
            depth=rng.uniform(74, 87),
            low=rng.uniform(0.4, 1.4),
        )


def _colour(rng: np.random.Generator) -> Colour:
    r, g, b = rng.uniform(20, 230, 3)
    return float(r), float(g), float(b)


class RandomPerson:
    """A person made from a seed, rendered like a `PhotoAvatar`."""

    def __init__(
        self,
        model: HeadModel,
        seed: int,
        spread: float = 0.8,
        traits: PersonTraits | None = None,
        background: NDArray[np.uint8] | None = None,
    ) -> None:
        """Make a person.

        Args:
            model: of the head.
            seed: of everything.
            spread: deviation of the identity coefficients.
            traits: in place of those that the seed would choose.
            background: uint8 [s, s, 3], in place of the one that the seed would choose.
        """
        rng = np.random.default_rng(seed)
        self.model, self.seed = model, seed
        bare = model.shape(rng.normal(size=_IDENTITIES) * spread)
        self.traits = traits or PersonTraits.random(rng)
        texture = empty_atlas(_ATLAS)
        texture[:_ATLAS] = paint_face(model, self.traits.face, rng, _ATLAS)
        eye = paint_eye(
            EyeColours(self.traits.iris, radius=self.traits.iris_radius, pupil=self.traits.pupil, seed=seed)
        )
        texture[_ATLAS:, :EYE_SIDE], texture[_ATLAS:, EYE_SIDE : 2 * EYE_SIDE] = eye, eye
        tint = part_tint(model)
        self.gains = lid_gains(model, bare)
        vertices, covered = _grow_hair(model, bare.vertices, self.traits, rng)
        _colour_hair(model, tint, covered, self.traits, rng)
        self.shape = model.shape_of(vertices)
        self._light = Light.random(rng)
        self._background = random_background(rng, 512) if background is None else background
        accessories = [shoulders(self.traits.clothes, rng)]
        if self.traits.glasses is not None:
            accessories.append(glasses(bare, self.traits.glasses, rng))
        self._accessories = accessories
        self._mesh, self._coat = _assemble(model, self.shape, texture, tint, accessories)
        self._follow = _follow(model, accessories)
        self._gloss = _gloss(model, self._mesh)
        self.rest = Placement(np.eye(3), np.array([0.0, self.traits.low, self.traits.depth]))

    def render(
        self,
        expression: Floats,
        motion: HeadMotion,
        size: int = 256,
        supersample: int = 2,
        gaze: NDArray[np.floating] | None = None,
    ) -> View:
        """See `PhotoAvatar.render`."""
        amounts = self.commanded(expression)
        placement = place(self.rest, motion)
        still = place(self.rest, HeadMotion(shift=motion.shift, scale=motion.scale))
        posed = np.concatenate([self.model.posed(self.shape, amounts, gaze), *(a.vertices for a in self._accessories)])
        points = (self._follow * placement.apply(posed) + (1 - self._follow) * still.apply(posed)).astype(np.float32)
        normals = kernels.vertex_normals(points, self._mesh.triangles)
        large = size * supersample
        seen = look_at(self._mesh, points, large)
        image = cv2.resize(self._background, (large, large), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        seen.paint(image, self._coat, self._light.on(normals))
        half_way = self._light.key + np.array([0, 0, -1], np.float32)
        half_way = (half_way / np.linalg.norm(half_way)).astype(np.float32)
        kernels.add_gloss(seen.owner, seen.weights, self._mesh.triangles, normals, half_way, *self._gloss, image)
        looking = self.model.gaze_angles(amounts) if gaze is None else gaze
        return make_view(self.model, self.shape, shrink(image, size), points, looking, placement)

    def neutral_keypoints(self, motion: HeadMotion, size: int = 256) -> Floats:
        """Where keypoints would be in a motion without expression; see `mien.avatars.photo.neutral_keypoints`.

        Args:
            motion: absolute.
            size: side of the picture, pixels.

        Returns:
            [70, 2], pixels.
        """
        return neutral_keypoints(self.model, self.shape, place(self.rest, motion), size)

    def commanded(self, expression: Floats) -> Floats:
        """See `PhotoAvatar.commanded`."""
        amounts = np.array(expression, np.float32)
        for side, gain in zip("LR", self.gains, strict=True):
            row = self.model.index(f"eyeBlink_{side}")
            amounts[row] *= 1 + amounts[row] * (gain - 1)
        return amounts


def _grow_hair(
    model: HeadModel, vertices: Floats, traits: PersonTraits, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """The head with hair or a hat as a shell pushed out, and how far each vertex [v] is covered."""
    x, y, z = model.neutral.T
    sides = traits.hair_line - np.clip(np.abs(x) - 5, 0, 9) * 1.6
    style = traits.hair_style
    if traits.hat is not None:
        line = np.full_like(y, traits.hair_line - 3.2)
    elif style < 0:
        return vertices, np.zeros(len(vertices), np.float32)
    else:
        line = np.where(z > 4, sides, np.where(z > 0.5, 3.0 + (z - 0.5) * 1.4, _BACK_LINES[style]))
    covered = np.clip((y - line) / 0.8, 0, 1) * np.isin(model.vertex_part, [FACE, HEAD])
    ears = (np.abs(x) > 7.4) & (z < 3.8) & (z > -3) & (y < 4.5) & (model.vertex_part == FACE)
    if style < 2 or traits.hat is not None:
        covered = np.where(ears, 0, covered)
    waves = np.sin(x * 2.1 + rng.uniform(0, 6)) * np.cos(y * 1.7 + z * 2) * 0.15
    thick = np.clip((y - line) / 3, 0, 1) * traits.hair_volume + 0.25 + waves
    normals = kernels.vertex_normals(vertices, model.triangles)
    grown = vertices + normals * (covered * thick)[:, None].astype(np.float32)
    if style in (2, 3) and traits.hat is None:
        fall = np.clip((2 - y) / 6, 0, 1) * covered * (z < 2)
        grown[:, 0] += (np.sign(x) * fall * rng.uniform(0.5, 2.5)).astype(np.float32)
    return grown.astype(np.float32), covered.astype(np.float32)


def _colour_hair(
    model: HeadModel, tint: Floats, covered: Floats, traits: PersonTraits, rng: np.random.Generator
) -> None:
    """Give tint [n, 4] the colours of scalp, neck, hair or hat, in place."""
    skin = np.array(traits.face.skin, np.float32)
    colour = np.array(traits.face.hair if traits.hat is None else traits.hat, np.float32)
    head = model.vertex_part[model.corner_vertex] == HEAD
    tint[head, :3] = skin / 255  # the face has its texture, the rest of the head its tint alone
    height = model.neutral[model.corner_vertex, 1]
    dressed = (np.clip((-11.3 - height) / 0.3, 0, 1) * head)[:, None]
    tint[:, :3] = tint[:, :3] * (1 - dressed) + np.array(traits.clothes, np.float32) / 255 * dressed
    share = covered[model.corner_vertex][:, None]
    x, y, z = model.neutral[model.corner_vertex].T
    strands = 1 + 0.15 * np.sin(np.arctan2(x, z) * 60 + 2 * np.sin(y)) + 0.12 * rng.normal(size=len(x))
    relative = np.where(head[:, None], colour / 255, colour / skin) * strands[:, None]
    tint[:, :3] = tint[:, :3] * (1 - share) + (relative * share).astype(np.float32)


def _assemble(
    model: HeadModel, shape: HeadShape, texture: NDArray[np.uint8], tint: Floats, accessories: list[Accessory]
) -> tuple[Mesh, Coat]:
    """One mesh and one coat of the head and what it wears."""
    mesh, places = Mesh.of(model), atlas_places(model, shape, _ATLAS)
    triangles, corners, parts = [mesh.triangles], [mesh.corners], [mesh.part]
    all_places, tints = [places], [tint]
    vertex, corner = len(model.neutral), len(model.corner_vertex)
    for item in accessories:
        triangles.append(item.triangles + vertex)
        corners.append(item.triangles + corner)
        parts.append(np.full(len(item.triangles), _ACCESSORY, np.uint8))
        all_places.append(np.tile(np.array([2 * EYE_SIDE + 40, _ATLAS + 60], np.float32), (len(item.vertices), 1)))
        tints.append(np.column_stack([item.colour, np.ones(len(item.colour))]).astype(np.float32))
        vertex, corner = vertex + len(item.vertices), corner + len(item.vertices)
    whole = Mesh(*(np.ascontiguousarray(np.concatenate(part)) for part in (triangles, corners, parts)))
    return whole, Coat(np.concatenate(all_places), np.concatenate(tints), texture)


def _follow(model: HeadModel, accessories: list[Accessory]) -> Floats:
    """[vertices, 1]: 1 what turns with the head, 0 what stays, in between the neck."""
    y = model.neutral[:, 1]
    head = np.where(y > -8, 1, smooth_step((y + 17) / 9))
    worn = [np.full(len(item.vertices), float(item.turns)) for item in accessories]
    return np.concatenate([head, *worn])[:, None].astype(np.float32)


def _gloss(model: HeadModel, mesh: Mesh) -> tuple[Floats, Floats]:
    """Strength and sharpness of the highlight by triangle."""
    strength, sharpness = np.zeros(len(mesh.part), np.float32), np.ones(len(mesh.part), np.float32)
    for parts, amount, power in (((FACE, HEAD), 15, 18), (EYEBALLS, 230, 160), ((GUMS, TEETH), 64, 30)):
        mine = np.isin(mesh.part, parts)
        strength[mine], sharpness[mine] = amount, power
    inner = np.isin(mesh.part, (GUMS, TEETH))
    depth = model.neutral[mesh.triangles[inner, 0], 2]
    strength[inner] *= np.clip((depth - 8) / 2, 0, 1)  # no light reaches the molars
    return strength, sharpness
