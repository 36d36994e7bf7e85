"""The animatable head: ICT-FaceKit (USC ICT, MIT licence) read from a pack; see `mien.avatars.head_pack`.

Centimetres; x to the subject's left, y up, z out of the face. `_L` in a shape's name is the subject's left, +x.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.avatars import kernels
from mien.avatars.camera import Floats
from mien.avatars.tongue import tongue_out
from mien.errors import InputError
from mien.faces import EXPRESSION_NAMES
from mien.media.cache import cache_folder

PACK_VARIABLE = "MIEN_HEAD_MODEL"
BUNDLED_PACK = Path(__file__).with_name("ict_head") / "head_model.npz"  # with 60 of the 100 identities
FACE, HEAD, SOCKET, EYE_SOCKETS, GUMS, TEETH, EYEBALLS = 0, 1, 2, (3, 4), 5, 6, (7, 8)
_DRAWN_PARTS = 9  # parts 9 to 16 are shells for an eye shader and lash cards, which drawn opaque look like black rims
_ARKIT = 53  # so many of the pack's 57 shapes carry ARKit's names
TONGUE = _ARKIT  # the shape behind them, which nothing uses (a pupil's width), gives its place to the tongue
# How far an eyeball turns at coefficient 1, degrees: ICT's own eyeLook shapes move the lids only.
PUPIL_DISTANCE = 1.45  # from the middle of an eyeball to its iris, cm
GAZE_OUT = GAZE_IN = 35.0
GAZE_UP, GAZE_DOWN = 28.0, 30.0
_WAYS = ("Out", "In", "Up", "Down")

# fmt: off
_NEEDED = (
    "vertices_neutral", "identity_deltas", "expression_deltas", "expression_names", "split_vertex", "split_uv",
    "tri_split", "tri_part", "vertex_part", "part_vertex_range", "eye_vertex_range", "landmarks68",
)
# fmt: on


@dataclass(frozen=True, eq=False)
class HeadShape:
    """A person without expression.

    Attributes:
        vertices: [v, 3], cm.
        eye_centres: of the eyeballs [2, 3], cm, left first.
    """

    vertices: Floats
    eye_centres: Floats


@dataclass(frozen=True, eq=False)
class HeadModel:
    """The pack, ready for use. v vertices, n corners (vertices split at texture seams), m triangles.

    Attributes:
        neutral: vertices [v, 3], cm.
        identity: shapes [100, v, 3] float16.
        expressions: shapes [57, v, 3] float16.
        names: of the 57 shapes.
        triangles: [m, 3], vertices; only what can be seen is listed.
        corners: [m, 3], corners.
        triangle_part: [m].
        corner_vertex: [n].
        corner_uv: [n, 2], v up.
        vertex_part: [v].
        part_range: first and last + 1 vertex of each part [17, 2].
        eye_range: sclera and iris of the left eye, then of the right [4, 2].
        landmarks: vertices [68], iBUG order, 0 at the picture's left.
    """

    neutral: Floats
    identity: NDArray[np.float16]
    expressions: NDArray[np.float16]
    names: tuple[str, ...]
    triangles: NDArray[np.int32]
    corners: NDArray[np.int32]
    triangle_part: NDArray[np.uint8]
    corner_vertex: NDArray[np.int32]
    corner_uv: Floats
    vertex_part: NDArray[np.uint8]
    part_range: NDArray[np.int32]
    eye_range: NDArray[np.int32]
    landmarks: NDArray[np.int32]
    _sparse: tuple[NDArray[np.int64], NDArray[np.int32], Floats]

    def index(self, name: str) -> int:
        """The number of a shape.

        Raises:
            KeyError: if there is none of that name.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(f"the head model has no shape {name}") from None

    def coefficients(self, **amounts: float) -> Floats:
        """An expression by names.

        Args:
            **amounts: by name; a name without its _L or _R sets both sides.

        Returns:
            [57].
        """
        return self.altered(np.zeros(len(self.names), np.float32), **amounts)

    def altered(self, expression: Floats, **amounts: float) -> Floats:
        """A copy of an expression with some amounts set; see `coefficients`.

        Args:
            expression: [57].
            **amounts: by name.

        Returns:
            [57].
        """
        changed = expression.copy()
        for name, amount in amounts.items():
            sides = (name,) if name in self.names else (f"{name}_L", f"{name}_R")
            for side in sides:
                changed[self.index(side)] = amount
        return changed

    def shape(self, identity: NDArray[np.floating] | None = None) -> HeadShape:
        """A person.

        Args:
            identity: coefficients [k], k <= 100, normally distributed over people; None: the mean.
        """
        vertices = self.neutral.copy()
        if identity is not None and len(identity):
            deltas = self.identity[: len(identity)].reshape(len(identity), -1).astype(np.float32)
            vertices += (np.asarray(identity, np.float32) @ deltas).reshape(-1, 3)
        return self.shape_of(vertices)

    def shape_of(self, vertices: Floats) -> HeadShape:
        """A person from the vertices [v, 3] of the head without expression."""
        centres = [_sphere_centre(vertices[slice(*self.eye_range[2 * side])]) for side in range(2)]
        return HeadShape(np.ascontiguousarray(vertices, np.float32), np.array(centres, np.float32))

    def posed(self, shape: HeadShape, expression: Floats, gaze: NDArray[np.floating] | None = None) -> Floats:
        """A person with an expression.

        Args:
            shape: of the person.
            expression: [57].
            gaze: [2, 2] as `gaze_angles`; None: from the expression.

        Returns:
            Vertices [v, 3], cm.
        """
        vertices = shape.vertices.copy()
        kernels.add_shapes(vertices, np.asarray(expression, np.float32), *self._sparse)
        angles = self.gaze_angles(expression) if gaze is None else gaze
        for side, centre in enumerate(shape.eye_centres):
            first, last = self.part_range[EYEBALLS[side]]
            vertices[first:last] = (vertices[first:last] - centre) @ gaze_rotation(*angles[side]).T + centre
        return vertices

    def pupils(self, shape: HeadShape, gaze: NDArray[np.floating]) -> Floats:
        """Where the pupils of a person are.

        Args:
            shape: of the person.
            gaze: [2, 2] as `gaze_angles`.

        Returns:
            [2, 3], cm, left first.
        """
        turned = [gaze_rotation(*angles)[:, 2] for angles in gaze]
        return (shape.eye_centres + PUPIL_DISTANCE * np.array(turned)).astype(np.float32)

    def gaze_angles(self, expression: NDArray[np.floating]) -> Floats:
        """How far each eyeball turns.

        Args:
            expression: [57].

        Returns:
            Degrees [2, 2], left eye first, to the subject's left and up.
        """
        angles = np.zeros((2, 2), np.float32)
        for row, (side, sign) in enumerate((("L", 1), ("R", -1))):
            out, into, up, down = (expression[self.index(f"eyeLook{way}_{side}")] for way in _WAYS)
            angles[row] = sign * (GAZE_OUT * out - GAZE_IN * into), GAZE_UP * up - GAZE_DOWN * down
        return angles

    def from_blendshapes(self, blendshapes: NDArray[np.floating]) -> Floats:
        """An expression from a reader's.

        Args:
            blendshapes: [52] in EXPRESSION_NAMES' order.

        Returns:
            [57].
        """
        given = dict(zip(EXPRESSION_NAMES, np.asarray(blendshapes, np.float32), strict=True))
        return np.array([given.get(_reader_name(name), 0.0) for name in self.names], np.float32)


def _reader_name(name: str) -> str:
    if name[:-2] in ("browInnerUp", "cheekPuff"):  # one shape in ARKit, two in ICT-FaceKit
        return name[:-2]
    return name.replace("_L", "Left").replace("_R", "Right")


def gaze_rotation(left: float, up: float) -> Floats:
    """The rotation of an eyeball in the model's axes.

    Args:
        left: degrees to the subject's left.
        up: degrees.

    Returns:
        [3, 3].
    """
    y, x = np.radians(left), np.radians(-up)
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    return (about_y @ about_x).astype(np.float32)


def _sphere_centre(points: Floats) -> NDArray[np.float64]:
    """Least squares sphere through points [n, 3]."""
    exact = points.astype(np.float64)
    system = np.column_stack([2 * exact, np.ones(len(exact))])
    return np.linalg.lstsq(system, (exact**2).sum(1), rcond=None)[0][:3]


def pack_place() -> Path:
    """Where `mien data head-model` puts the pack: $MIEN_HEAD_MODEL, else the cache folder. It need not exist."""
    given = os.environ.get(PACK_VARIABLE)
    return Path(given).expanduser() if given else cache_folder() / "head_model.npz"


def installed_pack() -> Path:
    """The pack that commands use: $MIEN_HEAD_MODEL, else what `mien data head-model` installed, else the bundled one.

    Only what the variable names need not exist.
    """
    place = pack_place()
    return place if os.environ.get(PACK_VARIABLE) or place.is_file() else BUNDLED_PACK


def load_head_model(path: Path | None = None) -> HeadModel:
    """Read a pack.

    Args:
        path: of the pack; None: the installed one.

    Raises:
        InputError: if it is missing, damaged or no head model.
    """
    return _loaded(path or installed_pack())


@lru_cache(maxsize=2)
def _loaded(path: Path) -> HeadModel:
    return assemble(pack_arrays(path))


def pack_arrays(path: Path | None = None) -> dict[str, NDArray]:
    """The arrays of a pack, by name.

    Args:
        path: of the pack; None: the installed one.

    Raises:
        InputError: if it is missing, damaged or no head model.
    """
    path = path or installed_pack()
    if not path.is_file():
        raise InputError(
            f"the head model {path} does not exist: run `mien data head-model` with a clone of"
            " github.com/ICT-VGL/ICT-FaceKit or with a pack of it"
        )
    try:
        with np.load(path) as pack:
            missing = [name for name in _NEEDED if name not in pack.files]
            if missing:
                raise InputError(f"{path} is no head model: it lacks {', '.join(missing)}; make it anew")
            return {name: pack[name] for name in _NEEDED}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"the head model {path} cannot be read ({error}): make it anew") from error


def assemble(pack: Mapping[str, NDArray]) -> HeadModel:
    """The model from the arrays of a pack."""
    corner_vertex = pack["split_vertex"].astype(np.int32)
    eye_range = pack["eye_vertex_range"].astype(np.int32)
    corners = pack["tri_split"].astype(np.int32)
    triangles = corner_vertex[corners]
    # The sclera is closed and hides the iris mesh behind it; the iris is painted on the sclera instead.
    seen = pack["tri_part"] < _DRAWN_PARTS
    names, expressions = _with_tongue(pack, triangles[pack["tri_part"] == GUMS])
    for first, last in eye_range[1::2]:
        seen &= ~((triangles >= first) & (triangles < last)).any(1)
    return HeadModel(
        neutral=pack["vertices_neutral"].astype(np.float32),
        identity=pack["identity_deltas"],
        expressions=expressions,
        names=names,
        triangles=np.ascontiguousarray(triangles[seen]),
        corners=np.ascontiguousarray(corners[seen]),
        triangle_part=pack["tri_part"][seen],
        corner_vertex=corner_vertex,
        corner_uv=pack["split_uv"].astype(np.float32),
        vertex_part=pack["vertex_part"],
        part_range=pack["part_vertex_range"].astype(np.int32),
        eye_range=eye_range,
        landmarks=pack["landmarks68"].astype(np.int32),
        _sparse=_sparse(expressions),
    )


def _with_tongue(
    pack: Mapping[str, NDArray], triangles: NDArray[np.int32]
) -> tuple[tuple[str, ...], NDArray[np.float16]]:
    """Names and shapes of a pack, with tongueOut at `TONGUE` if it has that many; triangles: of gums and tongue."""
    names, shapes = [str(name) for name in pack["expression_names"]], np.array(pack["expression_deltas"])
    if len(names) <= TONGUE:
        return tuple(names), shapes
    names[TONGUE] = "tongueOut"
    shapes[TONGUE] = tongue_out(pack["vertices_neutral"].astype(np.float32), triangles)
    return tuple(names), shapes


def _sparse(deltas: NDArray[np.float16]) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    """Shapes [k, v, 3] as starts [k + 1], moved vertices [s] and their deltas [s, 3]; see `kernels.add_shapes`."""
    moved = [np.flatnonzero((np.abs(delta) > 1e-4).any(1)).astype(np.int32) for delta in deltas]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in moved])]).astype(np.int64)
    kept = [delta[rows].astype(np.float32) for delta, rows in zip(deltas, moved, strict=True)]
    return starts, np.concatenate(moved), np.concatenate(kept)
