"""The node pack in a stand-in for ComfyUI: frozen signatures hold, examples run, results are right."""

from __future__ import annotations

import importlib
import json
import sys
import types
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from comfyui_host import FRAMES, PACK, Host, Interrupted, example

from mien.errors import InputError
from mien.media import open_clip, read_image
from tiny_dex import tiny_dex_window_pipeline
from window_faces import drawn_basis, drawn_person

__all__ = ["drawn_person"]  # a fixture

FROZEN = Path(__file__).with_name("comfyui_signatures.json")
BUNDLED = ["nano", "dex-nano"]


def test_names_and_signatures_are_the_frozen_ones(host: Host) -> None:
    """Graphs that people saved depend on them: never change that file's lines, only add optional inputs and nodes."""
    frozen: dict[str, dict[str, Any]] = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert set(frozen) == {name for name in host.nodes if name.startswith("Mien")}
    for name, old in frozen.items():
        schema = host.nodes[name].define_schema()
        assert [schema.display_name, schema.category] == [old["shown as"], old["category"]], name
        assert schema.is_output_node == old["output node"]
        assert [output.io_type for output in schema.outputs] == old["returns"], name
        assert [output.display_name for output in schema.outputs] == old["return names"], name
        inputs = host.nodes[name].INPUT_TYPES()
        for group in ("required", "optional"):
            now, then = inputs.get(group, {}), old["inputs"].get(group, {})
            # values of widgets are saved by their order alone
            assert list(now) == list(then), (name, group)
            for given in then:
                check_grown(*now[given], *then[given])


def check_grown(kind: str, options: dict[str, Any], then_kind: Any, then: dict[str, Any] | None = None) -> None:
    """Every value that an input took it takes today, and what it was when nobody set it, it is today."""
    then = then or {}
    if isinstance(then_kind, list):
        assert kind == "COMBO" and set(then_kind) <= set(options["options"])
    else:
        assert kind == then_kind
    assert options.get("default") == then.get("default")
    assert options.get("control_after_generate") == then.get("control_after_generate")
    if "min" in then:
        assert options["min"] <= then["min"] and options["max"] >= then["max"]


def test_the_example_animates(host: Host) -> None:
    done = host.run(example("animate"))
    squares, (images, mask) = done["6"][0], done["7"]
    assert squares.shape == (FRAMES, 90, 90, 3)
    assert images.shape == (FRAMES, 90, 110, 3) and mask.shape == (FRAMES, 90, 110)
    assert (squares[0] - squares[-1]).abs().mean() > 0.005  # it moves
    picture = torch.from_numpy(read_image(host.input / "portrait.png").astype(np.float32) / 255)
    torch.testing.assert_close(images[2][mask[2] == 0], picture[mask[2] == 0])
    assert mask.max() == 1
    clip = open_clip(host.output / "mien.mp4")
    assert clip.count() == FRAMES and clip.info.has_audio
    assert all(bar == sorted(bar) and bar[-1] == 1 and bar.count(1) == 1 for bar in host.bars)


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


@pytest.fixture
def windows(host: Host, drawn_person: None) -> Host:
    """The same with a DeX-Portrait model for face windows alone."""
    (host.models / "mien").unlink()
    tiny_dex_window_pipeline(drawn_basis()).save_pretrained(host.models / "mien" / "dex")
    return host


def squares(host: Host, node: str, **inputs: Any) -> torch.Tensor:
    """What a node makes of the portrait by that model."""
    graph = example("edit")
    graph["1"]["inputs"]["model"] = "dex"
    moves = {**graph["4"]["inputs"], "yaw": 10.0, "smile": 1.0, "brows": 0.0}
    sampling = {name: moves.pop(name) for name in ("seed", "steps", "guidance")}
    portrait = {"portrait": moves.pop("portrait")}
    graph = {number: graph[number] for number in "1236"}
    graph["6"]["inputs"]["images"] = ["4", 0]
    if node == "MienEdit":
        given = {**portrait, **moves, **sampling}
    elif node == "MienAnimateKeyframes":
        graph["5"] = {"class_type": "MienKeyframe", "inputs": {"frame": 2, **moves}}
        given = {**portrait, "keyframes": ["5", 0], "easing": "smooth", **sampling}
    else:
        given = {**portrait, **sampling}
    done = host.run({**graph, "4": {"class_type": node, "inputs": {**given, **inputs}}})
    result: torch.Tensor = done["4"][0]
    return result


def test_dex_on_face_windows_performs_keyframes_and_lists(windows: Host) -> None:
    """Expressions over time, by sliders: a list as `mien animate` takes it and keyframes come to the same."""
    listed = "fps: 4\nexpressions: [{at: 0}, {at: 0.5, smile: 1, yaw: 10}]"
    made = squares(windows, "MienAnimateList", expressions=listed, fps=0.0)
    assert len(made) == 3
    assert len(squares(windows, "MienAnimateList", expressions=listed, fps=8.0)) == 5
    assert torch.equal(squares(windows, "MienAnimateKeyframes", frames=0), made)
    longer = squares(windows, "MienAnimateKeyframes", frames=4)
    assert len(longer) == 4, "after the last keyframe the face stays, but for what frames see of each other"
    assert (longer[3] - longer[2]).abs().mean() < 0.5 * (made[2] - made[0]).abs().mean()
    edited = squares(windows, "MienEdit")
    assert edited.shape == made[:1].shape and (edited - made[:1]).abs().max() > 0.05
    with pytest.raises(InputError, match="expressions has no list named expressions"):
        squares(windows, "MienAnimateList", expressions="moments: []", fps=0.0)


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
    images, mask = nodes["MienPasteBack"].execute(portrait, squares, 0.1, allowed).result
    picture = torch.from_numpy(portrait.portrait.image.astype(np.float32) / 255)
    torch.testing.assert_close(images[0][:, :54], picture[:, :54])
    torch.testing.assert_close(images[:, :, 56:], done["7"][0][:, :, 56:])
    assert mask[:, :, :54].max() == 0 and mask.shape == (FRAMES, 90, 110)


def test_pictures_of_every_kind_become_frames(host: Host) -> None:
    images = _module(host, "images")
    grey, clear = torch.full((1, 4, 4, 1), 0.5), torch.zeros(1, 4, 4, 4)
    assert images.frame_of(grey, 0).tolist() == [[[128] * 3] * 4] * 4
    assert images.frame_of(clear, 0).min() == 255  # transparency lies over white
    wild = torch.tensor([float("nan"), -1.0, 2.0]).expand(1, 2, 2, 3)
    assert images.frame_of(wild, 0)[0, 0].tolist() == [0, 0, 255]
    with pytest.raises(InputError, match=r"driver must be pictures"):
        images.check_image(torch.zeros(4, 4, 3), "driver")
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
    assert (held[0] - held[-1]).abs().mean() < 0.5 * (driven[0] - driven[-1]).abs().mean()
    graph["1"]["inputs"]["model"] = "dex"
    with pytest.raises(InputError, match="disconnect it"):
        host.run(graph)


def test_models_are_listed_and_a_missing_mien_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.nodes["MienLoadModel"].INPUT_TYPES()["required"]["model"][1]["options"] == [*BUNDLED, "dex", "tiny"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(ModuleNotFoundError, match="not installed in the Python that runs ComfyUI"):
        exec(compile((PACK / "__init__.py").read_text(encoding="utf-8"), "__init__.py", "exec"), {})


def _module(host: Host, name: str) -> types.ModuleType:
    return importlib.import_module(f"{host.nodes['MienAnimate'].__module__.rpartition('.')[0]}.{name}")
