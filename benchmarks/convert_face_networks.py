"""Convert Google's face networks (.tflite) to the safetensors of `mien/weights/face_networks`, and check them.

    pip install ai-edge-litert
    python benchmarks/convert_face_networks.py TFLITE_FOLDER [--out src/mien/weights/face_networks] [--record FILE.npz]

TFLITE_FOLDER holds face_landmarker_v2_with_blendshapes.task (a zip, from Google's model page of the face landmarker),
selfie_segmentation.tflite and face_detection_full_range_sparse.tflite (from the wheel mediapipe 0.10.21, `modules/`).

Each torch module runs once; its layers, in the order of their calls, take the constants of the graph's operators in the
order of theirs, shape by shape. Then both networks see the same inputs, and the largest difference is printed. --record
keeps small inputs and what the .tflite files made of them, for the tests.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from mien.models import face_networks

BUNDLE = "face_landmarker_v2_with_blendshapes.task"
Run = Callable[[], list[Tensor]]
Record = dict[str, np.ndarray]
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.PReLU, nn.LayerNorm)
HALF_ERROR = 1e-3  # largest difference that float16 storage may cause


def graph(path: Path) -> Interpreter:
    """The .tflite file, with all of its tensors kept, without delegates where it has no operator of its own."""
    for resolver in (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO):
        try:
            made = Interpreter(
                str(path), experimental_preserve_all_tensors=True, num_threads=1, experimental_op_resolver_type=resolver
            )
            made.allocate_tensors()
        except (RuntimeError, ValueError):
            continue
        return made
    raise SystemExit(f"{path} cannot be run by ai-edge-litert")


def run_graph(interpreter: Interpreter, value: np.ndarray) -> list[np.ndarray]:
    """All outputs of the graph, in its order, for one input."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], value.astype(np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def constants(interpreter: Interpreter) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Each operator that holds weights, in the order of the graph: its name and its constants as float32."""
    run_graph(interpreter, np.zeros(interpreter.get_input_details()[0]["shape"]))
    ops = interpreter._get_ops_details()
    made = {int(i) for op in ops if op["op_name"] not in ("DEQUANTIZE", "DENSIFY", "DELEGATE") for i in op["outputs"]}
    made |= {int(each["index"]) for each in interpreter.get_input_details()}
    # A delegate leaves dequantised constants unfilled: read what they were made of.
    stored = {int(op["outputs"][0]): int(op["inputs"][0]) for op in ops if op["op_name"] == "DEQUANTIZE"}
    for op in ops:
        held = [int(i) for i in op["inputs"] if i >= 0 and int(i) not in made]
        if op["op_name"] in ("DEQUANTIZE", "DENSIFY", "DELEGATE", "PAD", "RESHAPE", "TRANSPOSE", "STRIDED_SLICE"):
            continue
        values = [interpreter.get_tensor(stored.get(i, i)) for i in held]
        values = [v.astype(np.float32) for v in values if v.dtype in (np.float32, np.float16) and v.ndim]
        if values:
            yield op["op_name"], values


def layers_in_order(network: nn.Module, example: Tensor) -> list[tuple[str, nn.Module]]:
    """The network's layers with weights, by the order of their calls."""
    called: list[tuple[str, nn.Module]] = []
    hooks = [
        layer.register_forward_hook(lambda module, *_, name=name: called.append((name, module)))
        for name, layer in network.named_modules()
        if isinstance(layer, LAYERS)
    ]
    with torch.inference_mode():
        network.eval()(example)
    for hook in hooks:
        hook.remove()
    return called


def as_torch(layer: nn.Module, kernel: np.ndarray) -> np.ndarray:
    """A kernel of the graph in the layout of the layer."""
    if isinstance(layer, nn.Linear):
        return kernel.reshape(kernel.shape[0], -1)
    if isinstance(layer, nn.ConvTranspose2d):
        return kernel.transpose(3, 0, 1, 2)
    if isinstance(layer, nn.Conv2d):
        return kernel.transpose(3, 0, 1, 2) if layer.groups > 1 else kernel.transpose(0, 3, 1, 2)
    return kernel.reshape(-1)


def fill(layer: nn.Module, values: list[np.ndarray], name: str) -> dict[str, Tensor]:
    """The layer's parameters out of an operator's constants."""
    kernel = as_torch(layer, values[0])
    if kernel.shape != tuple(layer.weight.shape):
        raise SystemExit(f"{name} wants {tuple(layer.weight.shape)}, the graph gives {kernel.shape}")
    parts = {f"{name}.weight": torch.from_numpy(kernel.copy())}
    bias = values[1].reshape(-1) if len(values) > 1 else None
    if getattr(layer, "bias", None) is not None:
        parts[f"{name}.bias"] = torch.zeros(layer.bias.shape) if bias is None else torch.from_numpy(bias.copy())
    elif bias is not None and np.abs(bias).max() > 0:
        raise SystemExit(f"{name} has no bias, the graph has one that is not zero")
    return parts


def convert(
    network: nn.Module, interpreter: Interpreter, example: Tensor, token: str | None = None
) -> dict[str, Tensor]:
    """The network's weights out of a graph.

    token: name of the one parameter that belongs to no layer; in the graph it is concatenated.
    """
    given = list(constants(interpreter))
    layers = layers_in_order(network, example)
    parts: dict[str, Tensor] = {}
    if token is not None:
        (added,) = (values[0] for kind, values in given if kind == "CONCATENATION")
        parts[token] = torch.from_numpy(added.reshape(-1).copy())
        given = [(kind, values) for kind, values in given if kind != "CONCATENATION"]
    if len(given) != len(layers):
        raise SystemExit(f"{type(network).__name__} has {len(layers)} layers, the graph {len(given)}")
    for (name, layer), (_, values) in zip(layers, given, strict=True):
        parts |= fill(layer, values, name)
    return parts


def channels_first(picture: np.ndarray) -> Tensor:
    """[b, h, w, 3] as [b, 3, h, w]."""
    return torch.from_numpy(picture.transpose(0, 3, 1, 2).copy()).float()


def compare(run: Run, network: nn.Module, parts: dict[str, Tensor], wanted: list[np.ndarray]) -> float:
    """Largest absolute difference between the network's outputs, as `run` gives them, and the graph's."""
    network.load_state_dict({name: part.float() for name, part in parts.items()}, strict=True)
    with torch.inference_mode():
        outputs = run()
    pairs = zip(outputs, wanted, strict=True)
    return max(float(np.abs(mine.numpy().ravel() - theirs.ravel()).max()) for mine, theirs in pairs)


def save(run: Run, network: nn.Module, parts: dict[str, Tensor], wanted: list[np.ndarray], path: Path) -> None:
    """Write the weights, float16 where that keeps the outputs, and say how far they are off."""
    half = {name: part.half().contiguous() for name, part in parts.items()}
    full_error, half_error = (compare(run, network, each, wanted) for each in (parts, half))
    kept = half if half_error <= max(full_error * 2, HALF_ERROR) else parts
    save_file({name: part.contiguous() for name, part in kept.items()}, path, metadata={"format": "pt"})
    count, kind = sum(part.numel() for part in parts.values()), "float16" if kept is half else "float32"
    print(
        f"{path.name}: {count:,} parameters, {path.stat().st_size:,} bytes, {kind};"
        f" off by {full_error:.1e} in float32, {half_error:.1e} from float16"
    )


def test_picture() -> np.ndarray:
    """A rendered face of the tests at 64 pixels, [64, 64, 3] uint8."""
    with Image.open(Path(__file__).parents[1] / "tests" / "assets" / "rendered" / "portrait_1.png") as picture:
        return np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX))


def enlarged(picture: np.ndarray, side: int, low: float = 0.0) -> np.ndarray:
    """A picture [64, 64, 3] uint8 as [1, side, side, 3] in [low, 1], pixels repeated; side is a multiple of 64."""
    times = side // 64
    return (picture.repeat(times, 0).repeat(times, 1)[None] / 255 * (1 - low) + low).astype(np.float32)


def person_mask(folder: Path, out: Path, seen: np.ndarray) -> Record:
    """selfie_segmentation.tflite."""
    network, interpreter = face_networks.PersonMaskNetwork(), graph(folder / "selfie_segmentation.tflite")
    picture = enlarged(seen, network.SIDE)
    wanted = run_graph(interpreter, picture)
    value = channels_first(picture)
    parts = convert(network, interpreter, value)
    save(lambda: [network(value)], network, parts, wanted, out / "person_mask.safetensors")
    return {"person_mask": wanted[0][0, ::8, ::8, 0]}


def landmarks(folder: Path, out: Path, seen: np.ndarray) -> Record:
    """face_landmarks_detector.tflite: 478 points, whether there is a face, whether the tongue is out."""
    network, interpreter = face_networks.LandmarkNetwork(), graph(folder / "face_landmarks_detector.tflite")
    picture = enlarged(seen, network.SIDE)
    wanted = run_graph(interpreter, picture)
    value = channels_first(picture)
    parts = convert(network, interpreter, value)

    def run() -> list[Tensor]:
        found = network(value)
        return [found.points, found.presence, found.tongue.sigmoid()]

    save(run, network, parts, wanted, out / "landmarks.safetensors")
    names = ("landmarks", "presence", "tongue")
    return {name: output.reshape(-1) for name, output in zip(names, wanted, strict=True)}


def blendshapes(folder: Path, out: Path, points: np.ndarray) -> Record:
    """face_blendshapes.tflite, on the points [478 * 3] that the landmark network gave."""
    network, interpreter = face_networks.BlendshapeNetwork(), graph(folder / "face_blendshapes.tflite")
    chosen = points.reshape(-1, 3)[list(face_networks.BLENDSHAPE_POINTS), :2][None]
    wanted = run_graph(interpreter, chosen)
    value = torch.from_numpy(chosen.copy())
    parts = convert(network, interpreter, value, token="answer")
    save(lambda: [network(value)], network, parts, wanted, out / "blendshapes.safetensors")
    return {"blendshapes": wanted[0]}


def detector(network: face_networks.Detector, path: Path, out: Path, seen: np.ndarray) -> Record:
    """blaze_face_short_range.tflite or face_detection_full_range_sparse.tflite."""
    interpreter = graph(path)
    picture = enlarged(seen, network.SIDE, low=-1.0)
    wanted = run_graph(interpreter, picture)
    value = channels_first(picture)
    parts = convert(network, interpreter, value)
    save(lambda: list(network.raw(value)), network, parts, wanted, out)
    best = np.argsort(-wanted[1].ravel())[:8]
    return {
        f"{out.stem}_logits": wanted[1].ravel()[::8],
        f"{out.stem}_best": best,
        f"{out.stem}_numbers": wanted[0][0, best],
    }


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer message, in order: number and value (int, float or bytes)."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 5:
            yield tag >> 3, struct.unpack_from("<f", message, at)[0]
            at += 4
        elif tag & 7 == 2:
            length = varint()
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise SystemExit(f"the geometry metadata holds a field of kind {tag & 7}, which is not known here")


def geometry(folder: Path, out: Path) -> None:
    """geometry_pipeline_metadata_landmarks.binarypb: the canonical face, and how much a point counts for the pose."""
    top = list(fields((folder / "geometry_pipeline_metadata_landmarks.binarypb").read_bytes()))
    (mesh,) = (value for number, value in top if number == 1)
    vertices = np.array([value for number, value in fields(mesh) if number == 3], np.float32).reshape(-1, 5)
    weights = np.zeros(len(vertices), np.float32)
    for reference in (dict(fields(value)) for number, value in top if number == 2):
        weights[reference[1]] = reference[2]
    parts = {"points": torch.from_numpy(vertices[:, :3].copy()), "weights": torch.from_numpy(weights)}
    path = out / "canonical_face.safetensors"
    save_file(parts, path, metadata={"format": "pt"})
    weighted, size = int((weights > 0).sum()), path.stat().st_size
    print(f"{path.name}: {len(vertices)} points, {weighted} of them weighted, {size:,} bytes")


def main() -> None:
    """Convert every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/mien/weights/face_networks")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    seen = test_picture()
    recorded: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as unpacked, zipfile.ZipFile(options.folder / BUNDLE) as bundle:
        bundle.extractall(unpacked)
        parts = Path(unpacked)
        recorded |= person_mask(options.folder, options.out, seen)
        recorded |= landmarks(parts, options.out, seen)
        recorded |= blendshapes(parts, options.out, recorded["landmarks"])
        for network, path in (
            (face_networks.ShortRangeDetector(), parts / "face_detector.tflite"),
            (face_networks.FullRangeDetector(), options.folder / "face_detection_full_range_sparse.tflite"),
        ):
            name = "short_range" if isinstance(network, face_networks.ShortRangeDetector) else "full_range"
            recorded |= detector(network, path, options.out / f"{name}_detector.safetensors", seen)
        geometry(parts, options.out)
    if options.record is not None:
        np.savez_compressed(options.record, picture=seen, **{k: v.astype(np.float32) for k, v in recorded.items()})


if __name__ == "__main__":
    main()
