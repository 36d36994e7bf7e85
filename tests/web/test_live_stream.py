"""What the live page's server says, without a browser: who may talk to it, frames both ways, portraits, sentences."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from mien.errors import InputError
from mien.jobs.demo import FOLDER
from mien.jobs.live_options import LiveOptions
from mien.media import write_image
from mien.web import serve
from mien.web.live_hub import LiveHub, decoded_frame, encoded_picture
from mien.web.live_stream import BUSY, FRAME, REFUSED, add_live_page
from mien.web.options import ServeOptions
from mien.web.widgets import Desk
from mien.web.workspace import Workspace
from page_parts import workspace
from samples import DrawnFaceReader, draw_face, job_pipeline
from window_faces import DrawnPersonMask, window_pipeline

__all__ = ["workspace"]  # a fixture

HERE = "http://127.0.0.1:7861"
STREAM = "ws://127.0.0.1:7861/live/stream"  # whole, for the client has a host of its own else


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveHub]:
    monkeypatch.setattr("mien.web.live_hub.load_pipeline", lambda *_, **__: window_pipeline())
    monkeypatch.setattr("mien.animation.cutting.PersonMask", DrawnPersonMask)
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())
    portrait = write_image(tmp_path / "me.png", draw_face(120, 100))
    made = LiveHub(LiveOptions(portrait=portrait, device="cpu", mirror=False, watermark=False))
    yield made
    made.close()


def client(hub: LiveHub, workspace: Workspace, **options: Any) -> TestClient:
    app = Starlette()
    add_live_page(app, hub, Desk(workspace, 60), workspace, ServeOptions(device="cpu", **options))
    return TestClient(app, base_url=HERE)


def frame(number: int, image: np.ndarray) -> bytes:
    return struct.pack(">BI", FRAME, number) + encoded_picture(image)


def answered(socket: Any, kind: str) -> Any:
    """The next message of a kind, "picture" or the type of a text."""
    for _ in range(60):
        message = socket.receive()
        assert message["type"] == "websocket.send", message
        if message.get("bytes") is not None and kind == "picture":
            return struct.unpack(">I", message["bytes"][:4])[0], decoded_frame(message["bytes"][4:])
        if message.get("text") and f'"type":"{kind}"' in message["text"].replace(" ", ""):
            return json.loads(message["text"])
    raise AssertionError(f"no {kind}")


def test_a_frame_goes_in_and_a_picture_of_the_portrait_comes_out(hub: LiveHub, workspace: Workspace) -> None:
    with client(hub, workspace).websocket_connect(STREAM, headers={"origin": HERE}) as socket:
        hello = answered(socket, "hello")
        assert hello["portrait"] == "me.png" and not hello["mirror"]
        names = [slider["name"] for group in hello["sliders"] for slider in group["sliders"]]
        assert {"eyes_gain", "smooth", "yaw", "smile", "gaze_x"} <= set(names)
        number, own = answered(socket, "picture")
        assert (number, own.shape) == (0, (100, 120, 3))
        socket.send_bytes(frame(1, draw_face(96, 80)))
        number, picture = answered(socket, "picture")
        assert (number, picture.shape) == (1, (100, 120, 3))
        socket.send_bytes(frame(2, draw_face(96, 80)))
        assert answered(socket, "picture")[0] == 2
        state = answered(socket, "state")
        assert state["rate"] > 0 and state["face"] and state["sentence"] == ""


def test_a_window_counts_its_frames_from_one_and_only_one_has_the_session(hub: LiveHub, workspace: Workspace) -> None:
    page = client(hub, workspace)
    for _ in range(2):
        with page.websocket_connect(STREAM) as socket:
            answered(socket, "hello")
            answered(socket, "picture")
            socket.send_bytes(frame(1, draw_face(96, 80)))
            assert answered(socket, "picture")[0] == 1
            with page.websocket_connect(STREAM) as other:
                assert answered(other, "sentence")["sentence"].startswith("Live is open in another window")
                with pytest.raises(WebSocketDisconnect) as closed:
                    other.receive_json()
                assert closed.value.code == BUSY


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"host": "evil.example"}])
def test_pages_of_others_are_refused(hub: LiveHub, workspace: Workspace, headers: dict[str, str]) -> None:
    page = client(hub, workspace)
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        page.websocket_connect(STREAM, headers=headers) as socket,
    ):
        socket.receive_json()
    assert closed.value.code == REFUSED
    assert page.post("/live/portrait?example=portrait_1.png", headers=headers).status_code == 403


def test_behind_a_server_with_a_name_of_its_own_it_is_reached(hub: LiveHub, workspace: Workspace) -> None:
    there = {"host": "example.org", "origin": "https://example.org"}
    with client(hub, workspace, root_path="/mien").websocket_connect(STREAM, headers=there) as socket:
        assert answered(socket, "hello")


def test_control_and_calibration_are_obeyed_and_nonsense_is_told(hub: LiveHub, workspace: Workspace) -> None:
    with client(hub, workspace).websocket_connect(STREAM) as socket:
        answered(socket, "hello")
        values = {"smile": 0.5, "eyes_gain": 2, "smooth": 0.3, "unknown": 9}
        socket.send_json({"type": "control", "values": values, "mirror": True})
        socket.send_json({"type": "control", "values": {"smile": 7}, "mirror": False})
        assert answered(socket, "sentence")["sentence"].startswith("--smile is 7")
        live = hub.session().live
        assert (live.control.change.smile, live.control.config.eyes_gain, live.mirror) == (0.5, 2, True)
        assert live.control.config.relative
        socket.send_text("{")
        assert "unreadable" in answered(socket, "sentence")["sentence"]
        socket.send_json({"type": "calibrate"})
        socket.send_bytes(frame(1, draw_face(96, 80)))
        answered(socket, "picture")


def test_what_is_no_picture_is_told_and_the_next_frame_counts(hub: LiveHub, workspace: Workspace) -> None:
    with client(hub, workspace).websocket_connect(STREAM) as socket:
        answered(socket, "hello")
        answered(socket, "picture")
        socket.send_bytes(struct.pack(">BI", FRAME, 1) + b"no picture")
        for _ in range(8):
            if (sentence := answered(socket, "state")["sentence"]) != "":
                break
        assert sentence == "A frame of the camera is no picture, or too large a one."
        socket.send_bytes(frame(2, draw_face(96, 80)))
        assert answered(socket, "picture")[0] == 2


def test_portraits_are_changed_by_upload_and_a_bad_one_is_told(
    hub: LiveHub, workspace: Workspace, tmp_path: Path
) -> None:
    page = client(hub, workspace, file_mb=1)
    good = write_image(tmp_path / "other.png", draw_face(60, 50)).read_bytes()
    assert page.post("/live/portrait?name=../other.png", content=good).json() == {"sentence": "", "name": "other.png"}
    assert hub.session().live.picture.shape == (50, 60, 3) and hub.portrait == "other.png"
    for name, content, sentence in (
        ("bad.png", b"nothing", "bad.png"),
        ("big.png", b"1" * 1_000_001, "big.png is larger than the 1 MB"),
    ):
        answer = page.post(f"/live/portrait?name={name}", content=content)
        assert answer.status_code == 422 and answer.json()["sentence"].startswith(sentence)
        assert str(workspace.root) not in answer.json()["sentence"]
    assert hub.session().live.picture.shape == (50, 60, 3)


def test_only_the_pages_own_files_are_served(hub: LiveHub, workspace: Workspace) -> None:
    page = client(hub, workspace)
    whole = page.get("/live")  # by way of the folder
    assert "live.js" in whole.text and "ws://127.0.0.1:7861" in whole.headers["content-security-policy"]
    assert page.get("/live/live.js").headers["content-type"].startswith("text/javascript")
    assert page.get("/live/example/portrait_1.png").content == (FOLDER / "portrait_1.png").read_bytes()
    for path in ("live_stream.py", "example/driver.mp4", "..%2Fpage.py", "example/..%2F..%2Ferrors.py"):
        assert page.get(f"/live/{path}").status_code == 404


def test_a_model_that_cannot_follow_is_told_in_the_window(
    hub: LiveHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.web.live_hub.load_pipeline", lambda *_, **__: job_pipeline())
    with client(hub, workspace).websocket_connect(STREAM) as socket:
        assert "cannot follow a camera" in answered(socket, "sentence")["sentence"]


def test_after_the_end_nothing_is_loaded_again(hub: LiveHub) -> None:
    session = hub.session()
    hub.close()
    assert session.closed
    with pytest.raises(InputError, match="being shut"):
        hub.session()


def test_colours_stay_in_their_order() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200
    assert decoded_frame(encoded_picture(image))[32, 32].tolist() == pytest.approx([200, 0, 0], abs=4)
    _, grey = cv2.imencode(".png", np.full((8, 8), 90, np.uint8))
    assert decoded_frame(grey.tobytes()).shape == (8, 8, 3)


def test_without_websockets_live_says_so_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("mien.web.live_tab.can_stream", lambda: False)
    monkeypatch.setattr("mien.web.live_hub.load_pipeline", None)
    with pytest.raises(InputError, match="live needs the package websockets"):
        serve.open_page(ServeOptions(port=0, folder=tmp_path), live=LiveOptions())
    assert not list(tmp_path.iterdir())
