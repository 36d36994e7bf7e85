"""As much of ComfyUI as its nodes notice: how it loads a pack, checks a graph and runs it.

The rules are those of ComfyUI's `nodes.load_custom_node`, `execution.validate_inputs` and of its frontend's
`graphToPrompt`, written anew: a folder is imported by its path under a name that no package has, and its
`comfy_entrypoint` gives its nodes; every input that is no link is cast and held against min, max and its options; links
must join equal types; nodes run once, inputs first.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import sys
import types
from collections.abc import Callable
from fractions import Fraction
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfyui_api import LATEST

from mien.media import open_clip, read_image, write_image, write_video

Graph = dict[str, dict[str, Any]]
PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
FRAMES = 5  # of the driver and of the source video that the tests make
_CASTS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class Interrupted(Exception):
    """What ComfyUI raises in a node when the user presses Cancel."""


class Host:
    """A running ComfyUI: the folders it reads and writes, its nodes, its progress bars, its Cancel button."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.input, self.output, self.models = (folder / name for name in ("input", "output", "models"))
        for path in (self.input, self.output, self.models):
            path.mkdir()
        self.shown: list[float] = []
        self.bars: list[list[float]] = []
        self.told: list[tuple[str, str]] = []
        self.running = ""
        self.cancel_after: int | None = None
        self.nodes: dict[str, Any] = core_nodes(self)
        self._install(monkeypatch)

    def _install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        folders: dict[str, list[str]] = {}
        paths = types.ModuleType("folder_paths")
        paths.models_dir = str(self.models)  # type: ignore[attr-defined]
        paths.get_input_directory = lambda: str(self.input)  # type: ignore[attr-defined]
        paths.add_model_folder_path = lambda name, path: folders.setdefault(name, [path])  # type: ignore[attr-defined]
        paths.get_folder_paths = lambda name: folders[name]  # type: ignore[attr-defined]
        management = types.ModuleType("comfy.model_management")
        management.get_torch_device = lambda: torch.device("cpu")  # type: ignore[attr-defined]
        management.throw_exception_if_processing_interrupted = self._interrupt  # type: ignore[attr-defined]
        tools = types.ModuleType("comfy.utils")
        tools.ProgressBar = lambda total: _Bar(self, total)  # type: ignore[attr-defined]
        comfy = types.ModuleType("comfy")
        comfy.model_management, comfy.utils = management, tools  # type: ignore[attr-defined]
        api = types.ModuleType("comfy_api")
        api.latest = LATEST  # type: ignore[attr-defined]
        running = types.ModuleType("comfy_execution.utils")
        running.get_executing_context = lambda: types.SimpleNamespace(node_id=self.running)  # type: ignore[attr-defined]
        server = types.ModuleType("server")
        page = types.SimpleNamespace(send_progress_text=lambda text, node: self.told.append((node, text)))
        server.PromptServer = types.SimpleNamespace(instance=page)  # type: ignore[attr-defined]
        packages = (comfy, api, types.ModuleType("comfy_execution"))
        for module in (paths, management, tools, LATEST, running, server, *packages):
            module.__spec__ = ModuleSpec(module.__name__, None, is_package=module in packages)
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def _interrupt(self) -> None:
        if self.cancel_after is not None and len(self.shown) >= self.cancel_after:
            raise Interrupted

    def load(self, folder: Path) -> types.ModuleType:
        """Import a node pack as ComfyUI does, and take its nodes in."""
        name = str(folder).replace(".", "_x_")
        for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
            del sys.modules[loaded]  # ComfyUI loads a pack once in its life
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        extension = asyncio.run(module.comfy_entrypoint())
        assert isinstance(extension, LATEST.ComfyExtension)  # type: ignore[attr-defined]
        for kind in asyncio.run(extension.get_node_list()):
            schema = kind.define_schema()
            check_class(schema.node_id, kind)
            self.nodes[schema.node_id] = kind
        return module

    def run(self, graph: Graph) -> dict[str, tuple[Any, ...]]:
        """Check a graph in the API's format and run it; what every node gave, by its number."""
        problems = [problem for node in graph for problem in self.problems(graph, node)]
        assert not problems, problems
        assert any(getattr(self.nodes[node["class_type"]], "OUTPUT_NODE", False) for node in graph.values())
        done: dict[str, tuple[Any, ...]] = {}
        for node in graph:
            self._run(graph, node, done)
        return done

    def problems(self, graph: Graph, number: str) -> list[str]:
        """Why ComfyUI would not run a node; numbers are cast in place, as ComfyUI does."""
        node = graph[number]
        if node["class_type"] not in self.nodes:
            return [f"{number}: there is no node {node['class_type']}"]
        inputs = self.nodes[node["class_type"]].INPUT_TYPES()
        known = {**inputs["required"], **inputs.get("optional", {})}
        found = [f"{number}: {name} is missing" for name in inputs["required"] if name not in node["inputs"]]
        found += [f"{number}: {name} is unknown" for name in node["inputs"] if name not in known]
        kind, own = self.nodes[node["class_type"]], set()
        if "validate_inputs" in vars(kind):
            own = set(inspect.signature(kind.validate_inputs).parameters)
            verdict = kind.validate_inputs(**{name: node["inputs"][name] for name in own & set(node["inputs"])})
            found += [] if verdict is True else [f"{number}: {verdict}"]
        for name in (set(known) & set(node["inputs"])) - own:
            problem = self._problem(graph, node["inputs"], name, *known[name])
            found += [f"{number}: {name} {problem}"] if problem else []
        return found

    def _problem(
        self, graph: Graph, given: dict[str, Any], name: str, kind: Any, limits: dict[str, Any] | None = None
    ) -> str | None:
        value, limits = given[name], limits or {}
        if isinstance(value, list):
            origin, slot = value
            returned = self.nodes[graph[origin]["class_type"]].RETURN_TYPES
            return None if slot < len(returned) and returned[slot] == kind else f"is joined to {returned}[{slot}]"
        if kind == "COMBO":
            return None if value in limits["options"] else f"is {value}, none of {limits['options']}"
        if kind not in _CASTS:
            return f"must be joined to a {kind}"
        value = given[name] = _CASTS[kind](value)
        if "min" in limits and value < limits["min"] or "max" in limits and value > limits["max"]:
            return f"is {value}, out of range"
        return None

    def _run(self, graph: Graph, number: str, done: dict[str, tuple[Any, ...]]) -> None:
        if number in done:
            return
        node = graph[number]
        arguments = {}
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                self._run(graph, value[0], done)
                value = done[value[0]][value[1]]
            arguments[name] = value
        kind, self.running = self.nodes[node["class_type"]], number
        given = getattr(kind(), kind.FUNCTION)(**arguments)
        assert isinstance(given, tuple) and len(given) == len(kind.RETURN_TYPES), node["class_type"]
        for value, returned in zip(given, kind.RETURN_TYPES, strict=True):
            check_value(value, returned)
        done[number] = given


def check_class(name: str, kind: Any) -> None:
    """What ComfyUI takes for granted of a node's class."""
    inputs = kind.INPUT_TYPES()
    assert set(inputs) <= {"required", "optional", "hidden"}, name
    arguments = inspect.signature(kind.execute).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in arguments.values())
    for group in ("required", "optional"):
        for given, (accepted, *limits) in inputs.get(group, {}).items():
            assert given.isidentifier(), (name, given)
            assert given in arguments or open_ended, (name, given)
            (options,) = limits
            if accepted in ("INT", "FLOAT"):
                assert options["min"] <= options["default"] <= options["max"], (name, given)
            if accepted == "COMBO":
                assert options["default"] in options["options"], (name, given)
            if group == "optional":
                assert (arguments[given].default or None) == options.get("default"), (name, given)
    schema = kind.define_schema()
    assert schema.node_id == kind.__name__ and schema.category and schema.description, name


def check_value(value: Any, kind: str) -> None:
    """Pictures and masks as every other node expects them."""
    if kind in ("IMAGE", "MASK"):
        value.mul_(1)  # other nodes may write into what they get
        assert value.dtype == torch.float32 and value.device.type == "cpu"
        assert value.ndim == (4 if kind == "IMAGE" else 3) and len(value)
        assert value.min() >= 0 and value.max() <= 1


def to_api(workflow: dict[str, Any], nodes: dict[str, Any]) -> Graph:
    """A saved workflow (the page's format) as the graph that it sends: widgets by their order, links by number."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph: Graph = {}
    for node in workflow["nodes"]:
        declared = nodes[node["type"]].INPUT_TYPES()
        values, inputs = iter(node.get("widgets_values", [])), {}
        for name, (kind, *limits) in {**declared["required"], **declared.get("optional", {})}.items():
            if kind == "COMBO" or kind in _CASTS:
                inputs[name] = next(values)
                if limits and limits[0].get("control_after_generate"):
                    assert next(values) in ("fixed", "increment", "decrement", "randomize")
        for entry in node.get("inputs", []):
            if entry["link"] is not None:
                inputs[entry["name"]] = links[entry["link"]]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def bundled_example(name: str) -> Graph:
    """An example graph in the API's format, as shipped."""
    graph: Graph = json.loads((PACK / "api_examples" / f"{name}.json").read_text(encoding="utf-8"))
    return graph


def example(name: str, **inputs: Any) -> Graph:
    """An example graph with a tiny model, and with some inputs of our nodes changed."""
    graph, tiny = bundled_example(name), {"nano": "tiny", "dex-nano": "dex"}
    for node in graph.values():
        if node["class_type"] == "MienLoadModel":
            node["inputs"]["model"] = tiny[node["inputs"]["model"]]
        elif node["class_type"].startswith("Mien"):
            node["inputs"] |= {key: value for key, value in inputs.items() if key in node["inputs"]}
    return graph


class _Bar:
    """comfy.utils.ProgressBar."""

    def __init__(self, host: Host, total: int) -> None:
        self._host, self._total = host, total
        self._values: list[float] = []
        host.bars.append(self._values)

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        assert 0 <= value <= (total or self._total)
        self._values.append(value / (total or self._total))
        self._host.shown.append(self._values[-1])


def core_nodes(host: Host) -> dict[str, Any]:
    """Stand-ins for the nodes of ComfyUI itself that the examples use."""

    def node(
        required: dict[str, Any], returns: tuple[str, ...], run: Callable[..., tuple[Any, ...]], **more: Any
    ) -> type:
        inputs = {"required": required, "optional": more.pop("optional", {})}
        body = {
            "INPUT_TYPES": classmethod(lambda cls: inputs),
            "RETURN_TYPES": returns,
            "FUNCTION": "run",
            "run": lambda self, **given: run(**given),
        }
        return type("Core", (), {**body, **more})

    def load_image(image: str) -> tuple[Any, ...]:
        picture = torch.from_numpy(read_image(host.input / image).astype(np.float32) / 255)[None]
        return picture, torch.zeros(1, 64, 64)

    def components(video: Path) -> tuple[Any, ...]:
        clip = open_clip(video)
        frames = np.stack(list(clip)).astype(np.float32) / 255
        return torch.from_numpy(frames), ("sound", video), float(clip.info.rate), 8

    def save_video(video: tuple[Any, ...], filename_prefix: str, format: str, codec: str) -> tuple[Any, ...]:
        images, fps, audio = video
        path = host.output / f"{Path(filename_prefix).name}.mp4"
        frames = [(image.numpy() * 255).round().astype(np.uint8) for image in images]
        write_video(path, frames, Fraction(fps).limit_denominator(1001), audio_from=audio and audio[1])
        return ()

    def save_image(images: torch.Tensor, filename_prefix: str) -> tuple[Any, ...]:
        for index, image in enumerate(images):
            path = host.output / f"{Path(filename_prefix).name}_{index}.png"
            write_image(path, (image.numpy() * 255).round().astype(np.uint8))
        return ()

    video, text = {"video": ("VIDEO",)}, ("STRING", {"default": "ComfyUI"})
    return {
        "LoadImage": node({"image": ("STRING",)}, ("IMAGE", "MASK"), load_image),
        "LoadVideo": node({"file": ("STRING",)}, ("VIDEO",), lambda file: (host.input / file,)),
        "GetVideoComponents": node(video, ("IMAGE", "AUDIO", "FLOAT", "INT"), components),
        "CreateVideo": node(
            {"images": ("IMAGE",), "fps": ("FLOAT", {"min": 1.0, "max": 120.0})},
            ("VIDEO",),
            lambda images, fps, audio=None: ((images, fps, audio),),
            optional={"audio": ("AUDIO",)},
        ),
        "SaveVideo": node(
            {
                **video,
                "filename_prefix": text,
                "format": ("COMBO", {"options": ["auto", "mp4"]}),
                "codec": ("COMBO", {"options": ["auto", "h264"]}),
            },
            (),
            save_video,
            OUTPUT_NODE=True,
        ),
        "SaveImage": node({"images": ("IMAGE",), "filename_prefix": text}, (), save_image, OUTPUT_NODE=True),
    }
