"""Packing a clone of github.com/ICT-VGL/ICT-FaceKit (MIT) into the one file that `load_head_model` reads.

A pack of 60 identities comes with this package, beside its licence (`mien.avatars.head_model.BUNDLED_PACK`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.media.files import whole_file

# README of ICT-FaceKit, "Topology": where each of the 17 parts begins, by vertex and by polygon.
# fmt: off
_PART_VERTICES = (
    0, 9409, 11248, 13294, 13678, 14062, 17039, 21451, 23021, 24591, 24795, 24999, 25023, 25047,
    25199, 25351, 26035, 26719,
)
_PART_POLYGONS = (
    0, 9230, 11144, 13226, 13630, 14034, 17006, 21496, 23094, 24692, 24855, 25018, 25033, 25048,
    25176, 25304, 25844, 26384,
)
_EYES = ((21451, 22221), (22221, 23021), (23021, 23791), (23791, 24591))  # sclera and iris, left; then right
_LANDMARKS_68 = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268,
    493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200,
    6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)
_SHAPES = (
    "browDown_L", "browDown_R", "browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R", "cheekPuff_L",
    "cheekPuff_R", "cheekSquint_L", "cheekSquint_R", "eyeBlink_L", "eyeBlink_R", "eyeLookDown_L", "eyeLookDown_R",
    "eyeLookIn_L", "eyeLookIn_R", "eyeLookOut_L", "eyeLookOut_R", "eyeLookUp_L", "eyeLookUp_R", "eyeSquint_L",
    "eyeSquint_R", "eyeWide_L", "eyeWide_R", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimple_L", "mouthDimple_R", "mouthFrown_L", "mouthFrown_R", "mouthFunnel", "mouthLeft", "mouthLowerDown_L",
    "mouthLowerDown_R", "mouthPress_L", "mouthPress_R", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmile_L", "mouthSmile_R", "mouthStretch_L", "mouthStretch_R",
    "mouthUpperUp_L", "mouthUpperUp_R", "noseSneer_L", "noseSneer_R", "PupilDilate_L", "PupilDilate_R", "cheekRaiser_L",
    "cheekRaiser_R",
)
# fmt: on
_IDENTITIES = 100


def pack_clone(clone: Path, out: Path) -> Path:
    """Write the pack of a clone of ICT-FaceKit.

    Args:
        clone: its top folder or its FaceXModel.
        out: the file to write.

    Returns:
        `out`.

    Raises:
        InputError: if a file of the clone is missing or has another topology.
    """
    folder = clone / "FaceXModel" if (clone / "FaceXModel").is_dir() else clone
    neutral_file = folder / "generic_neutral_mesh.obj"
    if not neutral_file.is_file():
        raise InputError(
            f"{clone} is neither a head model pack nor a clone of ICT-FaceKit: {neutral_file.name} is not there"
        )
    neutral, uv, polygons, uv_polygons = _read_mesh(neutral_file)
    if len(neutral) != _PART_VERTICES[-1] or len(polygons) != _PART_POLYGONS[-1]:
        raise InputError(
            f"{neutral_file} has {len(neutral)} vertices instead of {_PART_VERTICES[-1]}: use the light ICT-FaceKit"
        )
    identity = np.stack([_delta(folder / f"identity{i:03d}.obj", neutral) for i in range(_IDENTITIES)])
    expressions = np.stack([_delta(folder / f"{name}.obj", neutral) for name in _SHAPES])
    corner_vertex, corner_uv, corners, part = _triangulate(neutral, uv, polygons, uv_polygons)
    with whole_file(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            vertices_neutral=neutral.astype(np.float32),
            identity_deltas=identity,
            expression_deltas=expressions,
            expression_names=np.array(_SHAPES),
            split_vertex=corner_vertex,
            split_uv=corner_uv,
            tri_split=corners,
            tri_part=part,
            vertex_part=np.repeat(np.arange(17, dtype=np.uint8), np.diff(_PART_VERTICES)),
            part_vertex_range=np.array(list(zip(_PART_VERTICES[:-1], _PART_VERTICES[1:], strict=True)), np.int32),
            eye_vertex_range=np.array(_EYES, np.int32),
            landmarks68=np.array(_LANDMARKS_68, np.int32),
        )
    return out


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            for line in file:
                yield line.split()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): the clone of ICT-FaceKit is not whole") from error


def _read_mesh(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float32], list[list[int]], list[list[int]]]:
    """Vertices [v, 3], texture coordinates [t, 2], and polygons as lists of vertices and of texture coordinates."""
    vertices, coordinates, polygons, uv_polygons = [], [], [], []
    for words in _lines(path):
        if words[:1] == ["v"]:
            vertices.append([float(word) for word in words[1:4]])
        elif words[:1] == ["vt"]:
            coordinates.append([float(word) for word in words[1:3]])
        elif words[:1] == ["f"]:
            pairs = [word.split("/") for word in words[1:]]
            polygons.append([int(pair[0]) - 1 for pair in pairs])
            uv_polygons.append([int(pair[1]) - 1 for pair in pairs])
    return np.array(vertices), np.array(coordinates, np.float32), polygons, uv_polygons


def _delta(path: Path, neutral: NDArray[np.float64]) -> NDArray[np.float16]:
    """A shape minus the neutral head [v, 3], centimetres; rounding errs by at most 0.001 cm."""
    rows = [[float(word) for word in words[1:4]] for words in _lines(path) if words[:1] == ["v"]]
    if len(rows) != len(neutral):
        raise InputError(f"{path} has {len(rows)} vertices instead of {len(neutral)}: the clone is damaged")
    return (np.array(rows) - neutral).astype(np.float16)


def _triangulate(
    vertices: NDArray[np.float64], uv: NDArray[np.float32], polygons: list[list[int]], uv_polygons: list[list[int]]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32], NDArray[np.uint8]]:
    """Corners (pairs of vertex and texture coordinate) and triangles; quads are cut by the shorter diagonal."""
    numbers: dict[tuple[int, int], int] = {}
    triangles, parts = [], []
    part_of = np.repeat(np.arange(17), np.diff(_PART_POLYGONS))
    for polygon, (points, places) in enumerate(zip(polygons, uv_polygons, strict=True)):
        corner = [numbers.setdefault(pair, len(numbers)) for pair in zip(points, places, strict=True)]
        order = ((0, 1, 2),)
        if len(corner) == 4:
            ends = vertices[points]
            first = np.linalg.norm(ends[0] - ends[2]) <= np.linalg.norm(ends[1] - ends[3])
            order = ((0, 1, 2), (0, 2, 3)) if first else ((0, 1, 3), (1, 2, 3))  # type: ignore[assignment]
        for triple in order:
            triangles.append([corner[i] for i in triple])
            parts.append(part_of[polygon])
    pairs = np.array(list(numbers), np.int32)
    return pairs[:, 0], uv[pairs[:, 1]], np.array(triangles, np.int32), np.array(parts, np.uint8)
