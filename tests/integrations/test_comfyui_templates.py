"""The node pack's templates run as shipped, and whatever ComfyUI shows beside the nodes is there."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

if sys.version_info >= (3, 11):
    import tomllib

sys.path.insert(0, str(Path(__file__).parent))

from comfyui_host import PACK, Graph, Host, bundled_example, to_api

from mien.media import open_clip, read_image, write_video
from mien.media.watermark import read_mark

DEMO = Path(__file__).resolve().parents[2] / "src" / "mien" / "demo"
EXAMPLES = sorted(path.stem for path in (PACK / "api_examples").glob("*.json"))


def workflow_of(name: str) -> dict[str, Any]:
    workflow: dict[str, Any] = json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
    return workflow


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A ComfyUI that a stranger has just put the pack into, with the demo's files in its input folder."""
    monkeypatch.delenv("MIEN_MEDIAPIPE_MODEL", raising=False)
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    made = Host(tmp_path, monkeypatch)
    made.load(PACK)
    (made.input / "portrait.png").symlink_to(DEMO / "portrait_1.png")
    (made.input / "expression.png").symlink_to(DEMO / "portrait_2.png")
    frames = list(islice(iter(open_clip(DEMO / "driver.mp4")), 0, 45, 15))
    write_video(made.input / "driver.mp4", frames, 25)
    write_video(made.input / "source.mp4", frames[::-1], 25)
    return made


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_forms_of_an_example_are_one_graph(host: Host, name: str) -> None:
    workflow, graph = workflow_of(name), bundled_example(name)
    said = {number: {key: node[key] for key in ("class_type", "inputs")} for number, node in graph.items()}
    assert to_api(workflow, host.nodes) == said
    ends = {(str(link[3]), link[5]) for link in workflow["links"]}
    assert ends == {
        (str(node["id"]), entry["type"]) for node in workflow["nodes"] for entry in node["inputs"] if entry["link"]
    }


@pytest.mark.parametrize(
    ("name", "frames"), [("animate", 3), ("edit", 1), ("pose_and_expression", 3), ("keyframes", 3), ("source_video", 3)]
)
def test_the_examples_run_with_what_is_bundled(bare: Host, name: str, frames: int) -> None:
    """Nothing is changed but lengths: a driver of three frames, keyframes side by side."""
    graph = bundled_example(name)
    keys = [node for node in graph.values() if node["class_type"] == "MienKeyframe"]
    for frame, node in enumerate(keys):
        node["inputs"]["frame"] = frame
    done = bare.run(graph)
    images, reference = _made(graph, done)
    assert len(images) == frames and images.shape[1:] == reference.shape[-3:]
    assert (images - reference).abs().mean(dim=(1, 2, 3)).max() > 0.003  # the head moves
    assert (images - reference).abs().mean() < 0.1  # and the picture is still that picture
    assert read_mark([(image.numpy() * 255).round().astype(np.uint8) for image in images])[0]
    assert all(bar == sorted(bar) and bar[-1] == 1 and bar.count(1) == 1 for bar in bare.bars) and bare.bars
    assert not bare.told
    if name == "edit":  # and without the mark there is none
        portrait, squares = done["3"][0], done["4"][0]
        plain, _ = bare.nodes["MienPasteBack"].execute(portrait, squares, 0.1, watermark=False).result
        assert not read_mark([(plain[0].numpy() * 255).round().astype(np.uint8)])[0]


def _made(graph: Graph, done: dict[str, tuple[Any, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """The finished pictures of an example, and what they were made of."""
    for number, node in graph.items():
        if node["class_type"] == "MienPasteBack":
            picture = read_image(DEMO / "portrait_1.png").astype(np.float32) / 255
            return done[number][0], torch.from_numpy(picture)
        if node["class_type"] == "MienAnimateVideo":
            return done[number][0], done[node["inputs"]["source"][0]][0]
    raise AssertionError("no node of this example makes pictures")


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_node_of_a_template_hides_another(name: str) -> None:
    """With room for the pictures that ComfyUI shows in nodes which load or save some."""
    shown = {"LoadImage": 314, "LoadVideo": 380, "SaveImage": 314, "SaveVideo": 380}
    boxes = []
    for node in workflow_of(name)["nodes"]:
        (x, y), (width, height) = node["pos"], node["size"]
        boxes.append((x, y - 30, x + width, y + max(height, shown.get(node["type"], 0))))  # the title lies above
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


def test_every_template_has_a_thumbnail() -> None:
    assert sorted(path.stem for path in (PACK / "example_workflows").glob("*.json")) == EXAMPLES
    for name in EXAMPLES:
        picture = read_image(PACK / "example_workflows" / f"{name}.jpg")
        assert min(picture.shape[:2]) >= 200 and picture.std() > 20, name


def test_every_input_and_output_has_a_tooltip_and_stands_on_the_help_page(host: Host) -> None:
    for name, node in host.nodes.items():
        if not name.startswith("Mien"):
            continue
        schema = node.define_schema()
        page = (PACK / "web" / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {schema.display_name}\n")
        for given in schema.inputs:
            assert f"| `{given.id}` | {given.options['tooltip']} |" in page, (name, given.id)
        for output in schema.outputs:
            assert output.tooltip and f"`{output.display_name}`" in page, (name, output.display_name)
    pages = {path.stem for path in (PACK / "web" / "docs").glob("*.md")}
    assert pages == {name for name in host.nodes if name.startswith("Mien")}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_registry_is_told_what_it_asks_for() -> None:
    written = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
    assert written["project"]["version"].count(".") == 2
    assert "Repository" in written["project"]["urls"]
    assert {"PublisherId", "DisplayName", "requires-comfyui"} <= set(written["tool"]["comfy"])
    needed = (PACK / "requirements.txt").read_text(encoding="utf-8").split()
    assert needed == written["project"]["dependencies"]
