"""Frames both ways between a browser and the live session: one WebSocket beside gradio's own page.

A message that begins with FRAME holds a frame of the camera: its number in four bytes, then a JPEG. What comes back is
four bytes, the number of the frame that a picture was made of, and a JPEG. Text is JSON: `control`, `calibrate` one
way, `hello`, `state` and `sentence` the other. Pictures never wait in a queue: who sends one takes the newest.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.errors import InputError, MienError
from mien.jobs.demo import FOLDER
from mien.jobs.live import LiveSession
from mien.web.live_hub import LiveHub, decoded_frame, encoded_picture
from mien.web.options import ServeOptions
from mien.web.widgets import Desk
from mien.web.workspace import Workspace

FRAME = 1
BUSY, REFUSED = 4000, 4003  # codes with which a window is closed
EXAMPLES = ("portrait_1.png", "portrait_2.png")
_PAGE = Path(__file__).parent / "live_page"
_TYPES = {"index.html": "text/html", "live.js": "text/javascript", "live.css": "text/css"}
_BEAT = 0.5  # seconds between two states
_NUMBER = struct.Struct(">I")
_LOCAL = ("localhost", "127.0.0.1", "::1")


def add_live_page(app: Any, hub: LiveHub, desk: Desk, workspace: Workspace, options: ServeOptions) -> None:
    """Serve the live page under /live/ of gradio's application."""
    stream = LiveStream(hub, desk, workspace, options)
    routes = [
        Route("/live", _to_folder),
        Route("/live/", stream.page),
        Route("/live/{name}", stream.page),
        Route("/live/example/{name}", stream.example),
        Route("/live/portrait", stream.portrait, methods=["POST"]),
        WebSocketRoute("/live/stream", stream.talk),
    ]
    app.router.routes[:0] = routes  # before gradio's own, which take every path


class LiveStream:
    """The endpoints of the live page."""

    def __init__(self, hub: LiveHub, desk: Desk, workspace: Workspace, options: ServeOptions) -> None:
        self._hub, self._desk, self._workspace, self._options = hub, desk, workspace, options

    # -- the page --------------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page's files."""
        name = request.path_params.get("name", "index.html")
        if name not in _TYPES:
            return Response("there is no such file", 404)
        host = request.headers.get("host", "")
        policy = f"default-src 'self' blob: data:; connect-src 'self' ws://{host} wss://{host}"
        return FileResponse(_PAGE / name, media_type=_TYPES[name], headers={"Content-Security-Policy": policy})

    async def example(self, request: Request) -> Response:
        """A portrait of the demo."""
        name = request.path_params["name"]
        return FileResponse(FOLDER / name) if name in EXAMPLES else Response("there is no such example", 404)

    async def portrait(self, request: Request) -> Response:
        """Another portrait: an example by its name, or an upload. Answers with a sentence, "" for none."""
        if self._foreign(request):
            return JSONResponse({"sentence": "This page is served to itself alone."}, 403)
        try:
            example = request.query_params.get("example")
            path = FOLDER / example if example in EXAMPLES and example is not None else await self._uploaded(request)
            await run_in_threadpool(self._hub.choose, path)
        except Exception as error:
            return JSONResponse({"sentence": self._desk.sentence(error)}, 422)
        return JSONResponse({"sentence": "", "name": path.name})

    async def _uploaded(self, request: Request) -> Path:
        """The upload as a file of the workspace. Raises InputError for one that is too large."""
        most = self._options.file_mb * 10**6
        name = Path(request.query_params.get("name", "")).name[-100:] or "portrait"
        path = self._workspace.result_folder() / name
        size = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise InputError(f"{name} is larger than the {self._options.file_mb} MB that files may have here")
                file.write(chunk)
        return path

    def _foreign(self, connection: Request | WebSocket) -> bool:
        """Whether a page of somebody else asks: any page in the browser could, of any address of this machine."""
        host, origin = connection.headers.get("host", ""), connection.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return True
        local = self._options.host in _LOCAL and not self._options.root_path
        return local and urlsplit(f"//{host}").hostname not in _LOCAL

    # -- the stream ------------------------------------------------------------------------------------------------

    async def talk(self, socket: WebSocket) -> None:
        """One window, from its opening to its end."""
        await socket.accept()
        if self._foreign(socket):
            await socket.close(REFUSED)
            return
        if not self._hub.attach():
            await _say(socket, "Live is open in another window: close it there first.")
            await socket.close(BUSY)
            return
        try:
            await self._serve(socket)
        except WebSocketDisconnect:
            pass
        finally:
            self._hub.detach()

    async def _serve(self, socket: WebSocket) -> None:
        try:
            session = await run_in_threadpool(self._hub.session)
        except Exception as error:
            await _say(socket, self._desk.sentence(error))
            await socket.close(REFUSED)
            return
        hello = {"sliders": self._hub.sliders(), "mirror": session.live.mirror, "examples": EXAMPLES}
        await socket.send_json({"type": "hello", "portrait": self._hub.portrait, **hello})
        base = session.latest  # a window counts its frames from 1
        if self._hub.portrait:
            await socket.send_bytes(_NUMBER.pack(0) + encoded_picture(session.live.picture))
        async with anyio.create_task_group() as group:  # the first to end ends the others

            async def until_the_end(work: Awaitable[None]) -> None:
                try:
                    await work
                except WebSocketDisconnect:
                    pass
                finally:
                    group.cancel_scope.cancel()

            group.start_soon(until_the_end, self._heard(socket, session, base))
            group.start_soon(until_the_end, _shown(socket, session, base))
            group.start_soon(until_the_end, _told(socket, session))

    async def _heard(self, socket: WebSocket, session: LiveSession, base: int) -> None:
        """What the browser sends."""
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data, text = message.get("bytes"), message.get("text")
            if data is not None and len(data) > 5 and data[0] == FRAME:
                number = base + _NUMBER.unpack_from(data, 1)[0]
                session.offer(number, partial(decoded_frame, data[5:]))
            elif text is not None:
                try:
                    await run_in_threadpool(self._obey, json.loads(text), session)
                except (MienError, ValueError, TypeError, KeyError) as error:
                    wrong = error if isinstance(error, MienError) else InputError("the page sent something unreadable")
                    await _say(socket, self._desk.sentence(wrong))

    def _obey(self, asked: dict[str, Any], session: LiveSession) -> None:
        if asked["type"] == "calibrate":
            session.live.calibrate()
        elif asked["type"] == "control":
            self._hub.control(asked["values"], bool(asked["mirror"]))


async def _to_folder(request: Request) -> Response:
    """Files of the page are named beside it."""
    return RedirectResponse("live/", 307)


async def _shown(socket: WebSocket, session: LiveSession, base: int) -> None:
    """Send every picture that is the newest when the one before has gone out."""
    last = base
    while True:
        made = await run_in_threadpool(session.next, last, _BEAT)
        if made is not None:
            last = made.number
            data = await run_in_threadpool(encoded_picture, made.picture)
            await socket.send_bytes(_NUMBER.pack(made.number - base) + data)
        elif session.closed:
            return


async def _told(socket: WebSocket, session: LiveSession) -> None:
    """Send how it goes."""
    while True:
        await anyio.sleep(_BEAT)
        state = session.state()
        await socket.send_json(
            {
                "type": "state",
                "rate": round(state.rate, 2),
                "camera_rate": round(state.camera_rate, 2),
                "latency": round(state.latency, 4),
                "behind": state.behind,
                "dropped": state.dropped,
                "face": state.face,
                "sentence": state.sentence,
            }
        )


async def _say(socket: WebSocket, sentence: str) -> None:
    await socket.send_json({"type": "sentence", "sentence": sentence})
