"""The nodes with what people really connect: each is done right, or refused in a sentence that names the input."""

from __future__ import annotations

import importlib
import os
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from comfyui_host import FRAMES, PACK, Graph, Host, example

from mien.errors import InputError, MienError
from mien.media import write_image, write_video
from samples import RATE, DrawnFaceReader, draw_face, talking_frames

EMPTY = torch.zeros(0, 90, 110, 3)
BLACK = torch.zeros(1, 64, 64)  # what Load Image gives as the mask of a picture without transparency


def run(host: Host, node: str, *given: Any, **more: Any) -> tuple[Any, ...]:
    """One node by itself."""
    result: tuple[Any, ...] = host.nodes[node].execute(*given, **more).result
    return result


def image_of(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame.astype(np.float32) / 255)[None]


@pytest.fixture
def animated(host: Host) -> dict[str, Any]:
    """Model, portrait, driver and squares of the example."""
    done = host.run(example("animate"))
    host.told.clear()
    host.bars.clear()
    return {"model": done["1"][0], "portrait": done["3"][0], "driver": done["5"][0], "squares": done["6"][0]}


def dex_portrait(host: Host) -> Any:
    (model,) = run(host, "MienLoadModel", "dex", "auto", "auto", False)
    return run(host, "MienSetPortrait", model, image_of(draw_face(110, 90)), 0)[0]


# -- pictures and masks --------------------------------------------------------------------------------------------


def test_a_portrait_without_a_face_says_so(host: Host) -> None:
    write_image(host.input / "grey.png", np.full((64, 64, 3), 60, np.uint8))
    for name in ("animate", "edit", "pose_and_expression"):
        graph = example(name)
        graph["2"]["inputs"]["image"] = "grey.png"
        with pytest.raises(InputError, match="^no face was found in the portrait"):
            host.run(graph)


def test_a_face_that_is_not_there_is_counted(host: Host, animated: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="face 3 was asked for, but the portrait shows 1"):
        run(host, "MienSetPortrait", animated["model"], image_of(draw_face(110, 90)), 3)


def test_empty_batches_are_refused_by_every_input(host: Host, animated: dict[str, Any]) -> None:
    model, portrait, squares = animated["model"], animated["portrait"], animated["squares"]
    dex, sampled = dex_portrait(host), (0, 0, -1.0)
    gains = (1.0, 1.0, True)
    for name, node, given, more in [
        ("image", "MienSetPortrait", (model, EMPTY, 0), {}),
        ("driver", "MienAnimate", (portrait, EMPTY, *sampled, -1, True), {}),
        ("driver", "MienAnimate", (dex, EMPTY, *sampled, -1, True), {}),
        ("pose_from", "MienAnimateApart", (dex, *sampled, *gains), {"pose_from": EMPTY}),
        ("expression_from", "MienAnimateApart", (dex, *sampled, *gains), {"expression_from": EMPTY}),
        ("expression_from", "MienEdit", (portrait, *sampled), {"expression_from": EMPTY}),
        ("expression_from", "MienEdit", (dex, *sampled), {"expression_from": EMPTY}),
        ("source", "MienAnimateVideo", (model, EMPTY, animated["driver"], *sampled, -1, 0), {}),
        ("driver", "MienAnimateVideo", (model, animated["driver"], EMPTY, *sampled, -1, 0), {}),
        ("squares", "MienPasteBack", (portrait, EMPTY, 0.1), {}),
        ("mask", "MienPasteBack", (portrait, squares, 0.1), {"mask": torch.zeros(0, 90, 110)}),
    ]:
        with pytest.raises(InputError, match=f"^{name} is an empty batch"):
            run(host, node, *given, **more)


def test_what_shows_no_portrait_is_refused(host: Host, animated: dict[str, Any]) -> None:
    for shape in [(90, 110, 3), (1, 90, 110, 2), (1, 0, 110, 3), (1, 3, 90, 110)]:
        with pytest.raises(InputError, match="^image must be pictures"):
            run(host, "MienSetPortrait", animated["model"], torch.zeros(shape), 0)
    with pytest.raises(InputError, match="image has 20 x 16 pixels"):
        run(host, "MienSetPortrait", animated["model"], image_of(draw_face(20, 16)), 0)


def test_squares_that_are_not_square_are_refused(host: Host, animated: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="squares are 90 x 48 pixels"):
        run(host, "MienPasteBack", animated["portrait"], animated["squares"][:, :48], 0.1)


def test_scaled_squares_fit(host: Host, animated: dict[str, Any]) -> None:
    portrait, squares = animated["portrait"], animated["squares"]
    larger = torch.nn.functional.interpolate(squares.movedim(-1, 1), scale_factor=2, mode="bilinear").movedim(1, -1)
    once, twice = (run(host, "MienPasteBack", portrait, given, 0.1)[0] for given in (squares, larger))
    assert (once - twice).abs().mean() < 0.01


def test_each_frame_has_its_own_mask(host: Host, animated: dict[str, Any]) -> None:
    portrait, squares = animated["portrait"], animated["squares"]
    masks = torch.zeros(FRAMES, 90, 110)
    masks[1:, :, 55:] = 1
    images, new = run(host, "MienPasteBack", portrait, squares, 0.1, mask=masks, watermark=False)
    free, all_new = run(host, "MienPasteBack", portrait, squares, 0.1, watermark=False)
    picture = torch.from_numpy(portrait.portrait.image.astype(np.float32) / 255)
    torch.testing.assert_close(images[0], picture)  # this frame may not change
    torch.testing.assert_close(images[1:, :, 56:], free[1:, :, 56:])
    assert new[0].max() == 0 and torch.equal(new[2, :, 56:], all_new[2, :, 56:])
    assert not host.told
    with pytest.raises(InputError, match=f"mask holds 2 masks for {FRAMES} squares"):
        run(host, "MienPasteBack", portrait, squares, 0.1, mask=masks[:2])


def test_a_mask_output_can_be_written_into(host: Host, animated: dict[str, Any]) -> None:
    """Other nodes do: a single mask seen as many would change in all frames at once, or raise RuntimeError."""
    _, new = run(host, "MienPasteBack", animated["portrait"], animated["squares"], 0.1)
    before = new[1].clone()
    new[0].add_(1)
    assert torch.equal(new[1], before) and new.is_contiguous()


def test_a_black_mask_gets_a_hint(host: Host, animated: dict[str, Any]) -> None:
    portrait = animated["portrait"]
    images, new = run(host, "MienPasteBack", portrait, animated["squares"], 0.1, mask=BLACK, watermark=False)
    assert new.max() == 0
    assert torch.equal(images[0], torch.from_numpy(portrait.portrait.image.astype(np.float32) / 255))
    assert [text for _, text in host.told if "mask is black everywhere" in text]


def test_a_mask_of_another_shape_is_refused(host: Host, animated: dict[str, Any]) -> None:
    half = BLACK.clone()
    half[:, :, 32:] = 1
    with pytest.raises(InputError, match="mask is 64 x 64 pixels, but the portrait has 110 x 90"):
        run(host, "MienPasteBack", animated["portrait"], animated["squares"], 0.1, mask=half)
    with pytest.raises(InputError, match="mask must be masks"):
        run(host, "MienPasteBack", animated["portrait"], animated["squares"], 0.1, mask=half[..., None])
    white = run(host, "MienPasteBack", animated["portrait"], animated["squares"], 0.1, mask=BLACK + 1)[0]
    assert torch.equal(white, run(host, "MienPasteBack", animated["portrait"], animated["squares"], 0.1)[0])


def test_transparency_is_laid_over_white(host: Host, animated: dict[str, Any]) -> None:
    face = image_of(draw_face(110, 90))
    alpha = torch.ones(1, 90, 110, 1)
    alpha[:, :20, :20] = 0
    portrait = run(host, "MienSetPortrait", animated["model"], torch.cat([face, alpha], -1), 0)[0]
    assert portrait.portrait.image[:20, :20].min() == 255
    squares = torch.cat([animated["squares"], torch.ones(FRAMES, 90, 90, 1)], -1)
    assert run(host, "MienPasteBack", portrait, squares, 0.1)[0].shape == (FRAMES, 90, 110, 3)


# -- messages and bars ---------------------------------------------------------------------------------------------


def test_messages_name_inputs_and_never_options_of_the_command(host: Host, animated: dict[str, Any]) -> None:
    portrait, driver, sampled = animated["portrait"], animated["driver"], (0, 0, -1.0)
    dex, grey = dex_portrait(host), torch.full((2, 90, 110, 3), 0.3)
    for said, node, given, more in [
        (r"best_frame is 9, but driver has 5", "MienAnimate", (portrait, driver, *sampled, 9, True), {}),
        (r"best_frame is 9, but driver has 5", "MienAnimate", (dex, driver, *sampled, 9, True), {}),
        (r"driver: use a driving video that shows one face, or switch align off", "MienAnimate",
         (portrait, grey, *sampled, -1, True), {}),
        (r"no sliders of the expression, from smile", "MienEdit", (dex, *sampled), {"smile": 0.5}),
        (r"yaw", "MienEdit", (portrait, *sampled), {"yaw": 200.0}),
        (r"zoom", "MienEdit", (portrait, *sampled), {"zoom": 9.0}),
        (r"gaze_x", "MienKeyframe", (3,), {"gaze_x": 2.0}),
        (r"no face was found in expression_from", "MienEdit", (portrait, *sampled), {"expression_from": grey}),
        (r"frame of pose_from", "MienAnimateApart", (dex, *sampled, 1.0, 1.0, True), {"pose_from": grey}),
        (r"load dex-nano", "MienAnimateApart", (portrait, *sampled, 1.0, 1.0, True), {"pose_from": driver}),
        (r"load nano", "MienAnimateVideo", (dex.model, driver, driver, *sampled, -1, 0), {}),
        (r"there is no model gone", "MienLoadModel", ("gone", "auto", "auto", False), {}),
    ]:  # fmt: skip
        with pytest.raises(MienError, match=said) as caught:
            run(host, node, *given, **more)
        assert not re.search(r"(^|\s)--\w", str(caught.value)), str(caught.value)


def test_options_become_inputs_in_any_message(host: Host) -> None:
    words = _module(host, "words")
    assert words.in_node_words("--smooth needs x: leave it out, or use --system dex for gains") == (
        "smooth needs x: leave it out, or use a DeX-Portrait model, such as dex-nano for gains"
    )
    assert words.in_node_words("--scale is 9, --best-frame 2") == "zoom is 9, best_frame 2"
    assert words.in_node_words("a--b and e-mail -- as they are") == "a--b and e-mail -- as they are"


@pytest.mark.parametrize("name", ["animate", "pose_and_expression", "source_video"])
def test_every_bar_runs_once_to_its_end(host: Host, name: str) -> None:
    """With several windows, so that a bar which is full before the last one is told from one that is not."""
    write_video(host.input / "long.mp4", talking_frames(30), RATE)
    graph = example(name)
    for node in graph.values():
        if node["inputs"].get("file") in ("driver.mp4", "source.mp4"):
            node["inputs"]["file"] = "long.mp4"
    host.run(graph)
    busy = [node for node in graph.values() if node["class_type"].startswith("MienA")]
    assert len(host.bars) >= len(busy) + 1 - (name == "source_video")
    for bar in host.bars:
        assert bar == sorted(bar) and bar[-1] == 1 and bar.count(1) == 1, bar


def test_nano_edits_the_same_with_every_seed_and_says_so(host: Host, animated: dict[str, Any]) -> None:
    one, other = (run(host, "MienEdit", animated["portrait"], seed, 0, -1.0, yaw=9.0)[0] for seed in (0, 7))
    assert torch.equal(one, other)
    required = host.nodes["MienEdit"].INPUT_TYPES()["required"]
    assert all("nano needs none" in required[name][1]["tooltip"] for name in ("seed", "steps", "guidance"))
    # only the page can choose what a fresh node does after a run; the widget itself must stay, for saved graphs hold it
    script = (PACK / "web" / "mien.js").read_text(encoding="utf-8")
    assert "MienEdit" in script and '"fixed"' in script and "control_after_generate" in script


# -- models and seeds ----------------------------------------------------------------------------------------------


def test_folders_of_other_pipelines_are_not_listed(host: Host, tmp_path: Path) -> None:
    home = tmp_path / "more"
    for name, written in {
        "sd": '{"_class_name": "StableDiffusionPipeline"}',
        "torn": '{"_class_name": ',
        "list": "[]",
        "ours": '{"_class_name": "XPortraitPipeline"}',
        "nano": '{"_class_name": "XPortraitPipeline"}',
    }.items():
        (home / name).mkdir(parents=True)
        (home / name / "model_index.json").write_text(written, encoding="utf-8")
    sys.modules["folder_paths"].get_folder_paths = lambda name: [str(home)]  # type: ignore[attr-defined]
    options = host.nodes["MienLoadModel"].INPUT_TYPES()["required"]["model"][1]["options"]
    assert options == ["nano", "dex-nano", "ours"]


def test_a_retrained_model_is_loaded_again(host: Host, folders: Path) -> None:
    load = host.nodes["MienLoadModel"].fingerprint_inputs
    given = {"precision": "auto", "reader": "auto", "offload": False}
    before = load(model="tiny", **given)
    assert load(model="tiny", **given) == before
    weights = next((folders / "mien" / "tiny").rglob("*.safetensors"))
    state = weights.stat()
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
    assert load(model="tiny", **given) != before
    assert load(model="nano", **given) == load(model="nano", **given) != load(model="dex-nano", **given)


def test_workflows_that_name_the_reader_that_is_gone_go_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def graph_with(reader: str) -> Graph:
        graph = example("animate")
        graph["1"]["inputs"]["reader"] = reader
        return graph

    loaded: list[str] = []
    monkeypatch.setattr("mien.faces.load_face_reader", lambda name: loaded.append(name) or DrawnFaceReader())
    then, now = (host.run(graph_with(reader))["6"][0] for reader in ("nano", "auto"))
    assert loaded == ["auto", "auto"]
    torch.testing.assert_close(then, now)
    assert host.nodes["MienLoadModel"].INPUT_TYPES()["required"]["reader"][1]["options"] == ["auto", "mesh"]
    assert host.problems(graph_with("mesh"), "1") == []
    (problem,) = host.problems(graph_with("eyes"), "1")
    assert "reader is 'eyes', but it must be one of auto, mesh" in problem


def test_seeds_go_as_far_as_everywhere_in_comfyui(host: Host) -> None:
    largest, zero = (host.run(example("pose_and_expression", seed=seed))["7"][0] for seed in (2**64 - 1, 0))
    assert not torch.equal(largest, zero)


def test_frames_without_a_face_are_told(host: Host) -> None:
    frames = talking_frames(FRAMES)
    frames[2] = np.full_like(frames[2], 60)
    write_video(host.input / "gap.mp4", frames, RATE)
    for name, node in (("animate", "6"), ("source_video", "6"), ("pose_and_expression", "7")):
        host.told.clear()
        graph: Graph = example(name)
        for loader in graph.values():
            if loader["inputs"].get("file") == "driver.mp4":
                loader["inputs"]["file"] = "gap.mp4"
        host.run(graph)
        ((told_by, text),) = host.told
        assert told_by == node and f"no face was found in 1 of {FRAMES} frames" in text


# -- without a driver, and videos as sources ------------------------------------------------------------------------


def test_keyframes_move_a_portrait(host: Host) -> None:
    squares = host.run(_short(example("keyframes", frames=8)))["7"][0]
    portrait = host.run(example("edit", yaw=0.0, smile=0.0, brows=0.0))["4"][0]
    assert squares.shape == (8, 90, 90, 3)
    assert torch.equal(squares[0], portrait[0])  # it begins as it is
    steps = (squares[1:] - squares[:-1]).abs().mean(dim=(1, 2, 3))
    assert steps[:6].min() > 0 and steps[6] == 0  # the last keyframe, at frame 6, is kept
    assert (squares[2] - host.run(example("edit", yaw=-12.0, smile=0.8, brows=0.0))["4"][0][0]).abs().max() == 0


def test_dex_takes_keyframes_of_the_head(host: Host) -> None:
    dex = dex_portrait(host)
    (keys,) = run(host, "MienKeyframe", 3, yaw=20.0)
    squares = run(host, "MienAnimateKeyframes", dex, keys, 0, "linear", 0, 0, -1.0)[0]
    assert squares.shape == (4, 32, 32, 3)
    (keys,) = run(host, "MienKeyframe", 5, keyframes=keys, smile=0.5)
    with pytest.raises(InputError, match="no sliders of the expression, from smile to gaze_y"):
        run(host, "MienAnimateKeyframes", dex, keys, 0, "linear", 0, 0, -1.0)


def test_between_keyframes_everything_goes_evenly(host: Host) -> None:
    from mien.animation.face_edit import FaceChange

    keyframes = _module(host, "keyframes")
    keys = (keyframes.Keyframe(4, FaceChange(yaw=20.0, zoom=4.0)),)
    even = keyframes.changes_over_time(keys, 0, smooth=False)
    assert [change.yaw for change in even] == [0, 5, 10, 15, 20]
    assert even[2].zoom == pytest.approx(2)  # even factors
    slow = keyframes.changes_over_time(keys, 6, smooth=True)
    assert [round(change.yaw, 3) for change in slow] == [0, 3.125, 10, 16.875, 20, 20]
    assert [change.yaw for change in keyframes.changes_over_time(keys, 3, smooth=False)] == [0, 5, 10]
    with pytest.raises(InputError, match="two keyframes stand at frame 4"):
        keyframes.joined(keys, keyframes.Keyframe(4, FaceChange()))


def test_the_face_of_a_video_is_moved_and_the_rest_stays(host: Host) -> None:
    done = host.run(example("source_video"))
    images, source, driver = done["6"][0], done["4"][0], done["5"][0]
    assert images.shape == source.shape
    assert (images - source).abs().mean() > 0.002
    assert torch.equal(images[:, :4, :4], source[:, :4, :4])
    host.told.clear()
    shorter = run(host, "MienAnimateVideo", done["1"][0], source, driver[:3], 0, 0, -1.0, -1, 0)[0]
    assert len(shorter) == 3 and "as long as the shorter" in host.told[0][1]
    for name, given in (("source", (source[:1], driver)), ("driver", (source, driver[:1]))):
        with pytest.raises(InputError, match=f"^{name} is a single picture"):
            run(host, "MienAnimateVideo", done["1"][0], *given, 0, 0, -1.0, -1, 0)


def test_a_portrait_is_the_same_after_a_video_used_its_model(host: Host, animated: dict[str, Any]) -> None:
    driver = animated["driver"]
    run(host, "MienAnimateVideo", animated["model"], driver, driver, 0, 0, -1.0, -1, 0)
    again = run(host, "MienAnimate", animated["portrait"], driver, 0, 0, -1.0, -1, True)[0]
    assert torch.equal(again, animated["squares"])


# -- the machine ---------------------------------------------------------------------------------------------------


def test_every_run_asks_for_the_model_anew(host: Host, animated: dict[str, Any]) -> None:
    """ComfyUI may have moved it off the device in between."""
    asked: list[int] = []
    care = types.SimpleNamespace(ready=lambda: asked.append(1))
    portrait, driver, dex, sampled = animated["portrait"], animated["driver"], dex_portrait(host), (0, 0, -1.0)
    portrait.model.managed = dex.model.managed = care
    (keys,) = run(host, "MienKeyframe", 2, yaw=9.0)
    for node, given, more in [
        ("MienAnimate", (portrait, driver, *sampled, -1, True), {}),
        ("MienEdit", (portrait, *sampled), {"yaw": 9.0}),
        ("MienAnimateKeyframes", (portrait, keys, 0, "smooth", *sampled), {}),
        ("MienAnimateVideo", (animated["model"], driver, driver, *sampled, -1, 0), {}),
        ("MienAnimate", (dex, driver, *sampled, -1, True), {}),
        ("MienAnimateApart", (dex, *sampled, 1.0, 1.0, True), {"pose_from": driver}),
        ("MienEdit", (dex, *sampled), {"yaw": 9.0}),
        ("MienAnimateKeyframes", (dex, keys, 0, "smooth", *sampled), {}),
    ]:
        asked.clear()
        run(host, node, *given, **more)
        assert asked, node


def test_the_model_is_in_the_care_of_comfyui(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[Any, dict[str, Any]]] = []
    patchers = types.ModuleType("comfy.model_patcher")
    patchers.ModelPatcher = lambda *given: types.SimpleNamespace(  # type: ignore[attr-defined]
        given=given, model_size=lambda: 24
    )
    monkeypatch.setitem(sys.modules, "comfy.model_patcher", patchers)
    management: Any = sys.modules["comfy.model_management"]
    management.unet_offload_device = lambda: torch.device("cpu")
    management.load_models_gpu = lambda models, **more: loaded.append((models, more))
    layer, where = torch.nn.Linear(2, 2), torch.device("cpu")
    managed = _module(host, "host").ManagedModel({"unet": layer}, where)
    managed.ready(), managed.ready()
    ((patcher,), more), _ = loaded
    module, device, offload_device = patcher.given
    assert list(module.parameters()) == list(layer.parameters()) and (device, offload_device) == (where, where)
    assert more == {"force_full_load": True, "memory_required": 24}


def test_a_missing_or_broken_package_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile((PACK / "__init__.py").read_text(encoding="utf-8"), "__init__.py", "exec")
    there = types.SimpleNamespace(origin="somewhere")
    for missing, said in {
        "mien": "not installed in the Python that runs ComfyUI",
        "comfy_api.latest": "need ComfyUI 0.3.48",
        "cv2": "OpenCV is broken",
    }.items():
        gone = {name: there for name in ("mien", "comfy_api", "comfy_api.latest", "cv2") if name != missing}
        monkeypatch.setattr("importlib.util.find_spec", lambda name, *_, gone=gone: gone.get(name))
        with pytest.raises(ModuleNotFoundError, match=said):
            exec(code, {"__name__": "pack"})


def _short(graph: Graph) -> Graph:
    """The example's keyframes at frames 2, 4 and 6."""
    for frame, number in enumerate(("4", "5", "6"), 1):
        graph[number]["inputs"]["frame"] = 2 * frame
    return graph


def _module(host: Host, name: str) -> types.ModuleType:
    return importlib.import_module(f"{host.nodes['MienAnimate'].__module__.rpartition('.')[0]}.{name}")
