"""The node pack in a stand-in for ComfyUI: it loads, its signatures are the frozen ones, its example graphs run."""

from __future__ import annotations

import inspect
import json
import sys
import types
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from comfyui_host import Graph, Host, Interrupted, to_api

from mien.errors import InputError
from mien.media import open_clip, read_image, write_image, write_video
from mien.media.watermark import read_mark
from reenacting import reenacting_pipeline
from samples import RATE, DrawnFaceReader, draw_face, talking_frames, write_tone
from tiny_dex import tiny_dex_pipeline

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
FROZEN = Path(__file__).with_name("comfyui_signatures.json")
DEMO = Path(__file__).resolve().parents[2] / "src" / "mien" / "demo"
EXAMPLES = sorted(path.stem for path in (PACK / "api_examples").glob("*.json"))
FRAMES = 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI's folders: two tiny models, a portrait, a driver with sound, a face with an expression."""
    folder = tmp_path_factory.mktemp("comfyui")
    reenacting_pipeline().save_pretrained(folder / "mien" / "tiny")
    tiny_dex_pipeline().save_pretrained(folder / "mien" / "dex")
    write_image(folder / "portrait.png", draw_face(110, 90))
    write_image(folder / "expression.png", draw_face(96, 80, mouth=0.8))
    tone = write_tone(folder / "tone.wav", 1.0)
    write_video(folder / "driver.mp4", talking_frames(FRAMES), RATE, audio_from=tone)
    return folder


@pytest.fixture
def host(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path, monkeypatch)
    for name in ("portrait.png", "expression.png", "driver.mp4"):
        (made.input / name).symlink_to(folders / name)
    (made.models / "mien").symlink_to(folders / "mien")
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())
    made.load(PACK)
    return made


def example(name: str, **inputs: Any) -> Graph:
    """An example graph with a tiny model, and with some inputs of our nodes changed."""
    graph: Graph = json.loads((PACK / "api_examples" / f"{name}.json").read_text(encoding="utf-8"))
    for node in graph.values():
        if node["class_type"] == "MienLoadModel" and node["inputs"]["model"] == "nano":
            node["inputs"]["model"] = "tiny"
        elif node["class_type"].startswith("Mien"):
            node["inputs"] |= {key: value for key, value in inputs.items() if key in node["inputs"]}
    return graph


def signatures(nodes: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    kinds = {name: kind for name, kind in nodes.items() if name.startswith("Mien")}
    described = {
        name: {
            "shown as": names[name],
            "category": kind.CATEGORY,
            "inputs": kind.INPUT_TYPES(),
            "returns": kind.RETURN_TYPES,
            "return names": kind.RETURN_NAMES,
            "output node": getattr(kind, "OUTPUT_NODE", False),
        }
        for name, kind in kinds.items()
    }
    frozen: dict[str, Any] = json.loads(json.dumps(described))
    return frozen


def test_names_and_signatures_are_the_frozen_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs that people saved depend on them: never change this file's lines, only add optional inputs and nodes."""
    bare = Host(tmp_path, monkeypatch)
    module = bare.load(PACK)
    got = signatures(bare.nodes, module.NODE_DISPLAY_NAME_MAPPINGS)
    assert got == json.loads(FROZEN.read_text(encoding="utf-8"))


def test_order_of_inputs_is_the_frozen_one(host: Host) -> None:
    """Saved graphs hold the values of widgets by their order alone."""
    for name, frozen in json.loads(FROZEN.read_text(encoding="utf-8")).items():
        for group, inputs in host.nodes[name].INPUT_TYPES().items():
            assert list(inputs) == list(frozen["inputs"][group]), name


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_forms_of_an_example_are_one_graph(host: Host, name: str) -> None:
    workflow = json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
    graph = json.loads((PACK / "api_examples" / f"{name}.json").read_text(encoding="utf-8"))
    said = {number: {key: node[key] for key in ("class_type", "inputs")} for number, node in graph.items()}
    assert to_api(workflow, host.nodes) == said
    ends = {(str(link[3]), link[5]) for link in workflow["links"]}
    assert ends == {
        (str(node["id"]), entry["type"]) for node in workflow["nodes"] for entry in node["inputs"] if entry["link"]
    }


def test_the_example_animates(host: Host) -> None:
    done = host.run(example("animate"))
    squares, (images, mask) = done["6"][0], done["7"]
    assert squares.shape == (FRAMES, 64, 64, 3)
    assert images.shape == (FRAMES, 90, 110, 3) and mask.shape == (FRAMES, 90, 110)
    assert (squares[0] - squares[-1]).abs().mean() > 0.005  # it moves
    picture = torch.from_numpy(read_image(host.input / "portrait.png").astype(np.float32) / 255)
    torch.testing.assert_close(images[2][mask[2] == 0], picture[mask[2] == 0])
    assert mask.max() == 1 and mask.stride(0) == 0  # one copy for all frames
    clip = open_clip(host.output / "mien.mp4")
    assert clip.count() == FRAMES and clip.info.has_audio
    assert host.shown == sorted(host.shown) and host.shown[-1] == 1


def test_the_example_edits(host: Host) -> None:
    host.run(example("edit"))
    turned = read_image(host.output / "mien_0.png")
    assert turned.shape == (90, 110, 3)
    host.run(example("edit", yaw=-25.0, smile=0.0, brows=0.0))
    assert np.abs(read_image(host.output / "mien_0.png").astype(int) - turned).mean() > 0.3
    graph = example("edit")
    graph["7"] = {"class_type": "LoadImage", "inputs": {"image": "expression.png"}}
    graph["4"]["inputs"]["expression_from"] = ["7", 0]
    host.run(graph)
    assert np.abs(read_image(host.output / "mien_0.png").astype(int) - turned).mean() > 0.03


def test_the_example_parts_pose_and_expression(host: Host) -> None:
    done = host.run(example("pose_and_expression"))
    both = done["7"][0]
    assert both.shape == (FRAMES, 32, 32, 3)
    still = host.run(example("pose_and_expression", pose_gain=0.0, expression_gain=0.0))["7"][0]
    assert (both - still).abs().mean() > 0.003
    graph = example("pose_and_expression")
    del graph["7"]["inputs"]["pose_from"], graph["7"]["inputs"]["expression_from"]
    with pytest.raises(InputError, match="nothing drives the portrait"):
        host.run(graph)


def test_dex_animates_and_edits_with_the_common_nodes(host: Host) -> None:
    graph = example("animate")
    graph["1"]["inputs"]["model"] = "dex"
    assert host.run(graph)["6"][0].shape == (FRAMES, 32, 32, 3)
    graph = example("edit", smile=0.0, brows=0.0)
    graph["1"]["inputs"]["model"] = "dex"
    assert host.run(graph)["4"][0].shape == (1, 32, 32, 3)
    graph["4"]["inputs"]["smile"] = 0.5
    with pytest.raises(InputError, match="sliders of the expression"):
        host.run(graph)


@pytest.mark.parametrize(("name", "frames"), [("animate", 3), ("edit", 1)])
def test_the_examples_run_with_what_is_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, frames: int
) -> None:
    """Nano and its reader, the demo's files: as a stranger opens the example."""
    monkeypatch.delenv("MIEN_MEDIAPIPE_MODEL", raising=False)
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    bare = Host(tmp_path, monkeypatch)
    bare.load(PACK)
    (bare.input / "portrait.png").symlink_to(DEMO / "portrait_1.png")
    write_video(bare.input / "driver.mp4", islice(iter(open_clip(DEMO / "driver.mp4")), 0, 45, 15), 25)
    graph = json.loads((PACK / "api_examples" / f"{name}.json").read_text(encoding="utf-8"))
    done = bare.run(graph)
    (pasted,) = (node for node, kind in graph.items() if kind["class_type"] == "MienPasteBack")
    images, mask = done[pasted]
    picture = torch.from_numpy(read_image(DEMO / "portrait_1.png").astype(np.float32) / 255)
    assert images.shape == (frames, *picture.shape)
    changed = (images - picture).abs()[..., 0]
    assert changed[mask > 0.9].mean() > 0.01  # the head moves
    assert changed.mean() < 0.1  # and the picture is still that picture
    frames_marked = [(image.numpy() * 255).round().astype(np.uint8) for image in images]
    assert read_mark(frames_marked)[0]  # and says that it is synthetic
    squares = done[graph[pasted]["inputs"]["squares"][0]][0]
    portrait = done[graph[pasted]["inputs"]["portrait"][0]][0]
    (plain, _) = bare.nodes["MienPasteBack"]().paste(portrait, squares, 0.1, watermark=False)
    assert not read_mark([(plain[0].numpy() * 255).round().astype(np.uint8)])[0]


def test_a_seed_means_the_same_again(host: Host) -> None:
    once, again = (host.run(example("animate"))["7"][0] for _ in range(2))
    assert torch.equal(once, again)


def test_two_portraits_share_a_model_without_mixing(host: Host) -> None:
    graph = example("animate")
    alone = host.run(graph)["6"][0]
    graph["12"] = {"class_type": "LoadImage", "inputs": {"image": "expression.png"}}
    graph["13"] = {"class_type": "MienSetPortrait", "inputs": {"model": ["1", 0], "image": ["12", 0], "face": 0}}
    graph["14"] = {"class_type": "MienAnimate", "inputs": {**graph["6"]["inputs"], "portrait": ["13", 0]}}
    reversed_graph = {number: graph[number] for number in reversed(graph)}
    for order in (graph, reversed_graph):
        done = host.run(order)
        assert torch.equal(done["6"][0], alone)
        assert not torch.equal(done["14"][0], alone)


def test_cancel_stops_a_run_and_the_next_one_is_whole(host: Host) -> None:
    whole = host.run(example("animate"))["6"][0]
    steps = len(host.shown)
    for after in (1, steps // 2, steps - 1):
        host.shown.clear()
        host.cancel_after = after
        with pytest.raises(Interrupted):
            host.run(example("animate"))
        assert len(host.shown) == after
    host.cancel_after = None
    assert torch.equal(host.run(example("animate"))["6"][0], whole)


def test_a_mask_says_where_the_picture_may_change(host: Host) -> None:
    graph = example("animate")
    done = host.run(graph)
    nodes, portrait, squares = host.nodes, done["3"][0], done["6"][0]
    allowed = torch.zeros(1, 90, 110)
    allowed[:, :, 55:] = 1
    images, mask = nodes["MienPasteBack"]().paste(portrait, squares, 0.1, allowed)
    picture = torch.from_numpy(portrait.portrait.image.astype(np.float32) / 255)
    torch.testing.assert_close(images[0][:, :54], picture[:, :54])
    torch.testing.assert_close(images[:, :, 56:], done["7"][0][:, :, 56:])
    assert mask[:, :, :54].max() == 0 and mask.shape == (FRAMES, 90, 110)


def test_faceless_pictures_are_refused_in_a_sentence(host: Host) -> None:
    write_image(host.input / "grey.png", np.full((64, 64, 3), 60, np.uint8))
    graph = example("animate")
    graph["2"]["inputs"]["image"] = "grey.png"
    with pytest.raises(InputError, match="the portrait"):
        host.run(graph)


def test_pictures_of_every_kind_become_frames(host: Host) -> None:
    images = _module(host, "images")
    grey, clear = torch.full((1, 4, 4, 1), 0.5), torch.zeros(1, 4, 4, 4)
    assert images.frame_of(grey, 0).tolist() == [[[128] * 3] * 4] * 4
    assert images.frame_of(clear, 0).min() == 255  # transparency lies over white
    wild = torch.tensor([float("nan"), -1.0, 2.0]).expand(1, 2, 2, 3)
    assert images.frame_of(wild, 0)[0, 0].tolist() == [0, 0, 255]
    with pytest.raises(InputError, match="IMAGE"):
        images.frame_of(torch.zeros(4, 4, 3), 0)
    with pytest.raises(RuntimeError, match="promised"):
        images.batch_of([np.zeros((2, 2, 3), np.uint8)], 2)


def test_sliders_and_gains_are_those_of_the_command(host: Host) -> None:
    from mien.animation.face_edit import SLIDERS, HeadMove
    from mien.motion.gains import MotionGains

    inputs = list(host.nodes["MienEdit"].INPUT_TYPES()["required"])
    assert inputs[1:-3] == [part.name for part in fields(HeadMove)] + list(SLIDERS)
    named = [part.name for part in fields(MotionGains)]
    assert list(host.nodes["MienControl"].INPUT_TYPES()["required"])[:5] == [*named]


def test_control_holds_a_region_still(host: Host) -> None:
    graph = example("animate")
    driven = host.run(graph)["6"][0]
    values = {"eyes": 0.0, "mouth": 0.0, "brows": 0.0, "head": 0.0, "relative": False, "smooth": 0.0, "fps": 30.0}
    graph["10"] = {"class_type": "MienControl", "inputs": values}
    graph["6"]["inputs"]["control"] = ["10", 0]
    held = host.run(graph)["6"][0]
    assert (held[0] - held[-1]).abs().mean() < 0.2 * (driven[0] - driven[-1]).abs().mean()
    graph["1"]["inputs"]["model"] = "dex"
    with pytest.raises(InputError, match="disconnect it"):
        host.run(graph)


def test_models_are_listed_and_a_missing_mien_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.nodes["MienLoadModel"].INPUT_TYPES()["required"]["model"][0] == ["nano", "dex", "tiny"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(ModuleNotFoundError, match="not installed in the Python that runs ComfyUI"):
        exec(compile((PACK / "__init__.py").read_text(encoding="utf-8"), "__init__.py", "exec"), {})


def test_every_node_says_what_its_inputs_are(host: Host) -> None:
    for name, kind in host.nodes.items():
        if name.startswith("Mien"):
            assert inspect.getdoc(kind)
            assert set(kind.INPUT_TYPES()) <= {"required", "optional"}


def _module(host: Host, name: str) -> types.ModuleType:
    return sys.modules[f"{host.nodes['MienAnimate'].__module__.rpartition('.')[0]}.{name}"]
