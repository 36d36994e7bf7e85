"""Start the web UI, keep it running, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from mien.errors import InputError
from mien.jobs.live_options import LiveOptions
from mien.web.options import ServeOptions
from mien.web.workspace import Workspace


@dataclass
class Page:
    """A running page. url: where it is; public_url: the address that gradio lends, None without `share`."""

    url: str
    public_url: str | None
    workspace: Workspace
    blocks: Any
    desk: Any
    studio: Any
    live: Any

    def wait(self) -> None:
        """Until somebody presses Ctrl-C, or the system asks the program to end (in the main thread)."""
        ended = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
        try:
            while not ended.wait(1):  # in steps, for Windows hears Ctrl-C between them only
                pass
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)

    def close(self) -> None:
        """Stop all jobs, shut the web UI, and remove its folder."""
        self.desk.stop_all()
        with ExitStack() as stack:  # whatever fails, the rest is shut
            stack.callback(self.workspace.close)
            stack.callback(self.studio.close)
            stack.callback(self.blocks.close, verbose=False)
            self.live.close()


def open_page(options: ServeOptions, *, warm: bool = True, live: LiveOptions | None = None) -> Page:
    """Start serving in threads of this process.

    warm: load the model first, so that a wrong one is told now. live: what the live page begins with, whose model is
    then the one that is loaded; None: it is loaded when somebody opens it.

    Raises InputError without gradio or if the port is taken, WeightsError or OutputError.
    """
    workspace = Workspace(options.folder, options.keep_minutes)
    try:
        # gradio reads these when it is imported, and whenever a component is made
        os.environ["GRADIO_TEMP_DIR"] = str(workspace.root)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        return _open(options, workspace, warm, live)
    except BaseException:
        workspace.close()
        raise


def _open(options: ServeOptions, workspace: Workspace, warm: bool, live: LiveOptions | None) -> Page:
    try:
        import gradio  # noqa: F401 - whether it is there
    except ImportError as error:
        raise InputError("mien serve needs the package gradio: pip install 'mien[web]'") from error
    from mien.web.live_hub import LiveHub
    from mien.web.live_stream import add_live_page
    from mien.web.live_tab import NO_STREAM, can_stream
    from mien.web.page import build_page, theme
    from mien.web.studio import Studio
    from mien.web.style import CSS, POLICY
    from mien.web.widgets import Desk

    studio, desk = Studio(options, workspace), Desk(workspace, options.job_seconds)
    port = _free_port(options)
    same = {name: getattr(options, name) for name in ("model", "reader", "device", "dtype", "offload", "quantize")}
    hub = LiveHub(live or LiveOptions(**same))
    if live is not None:
        if not can_stream():
            raise InputError(NO_STREAM)
        hub.session()
    elif warm:
        studio.warm()
    blocks = build_page(studio, desk)
    application, url, public_url = blocks.launch(
        server_name=options.host,
        server_port=port,
        root_path=options.root_path or None,
        share=options.share,
        inbrowser=options.browser and live is None,
        prevent_thread_lock=True,
        quiet=True,
        show_error=False,
        ssr_mode=False,
        footer_links=[],
        max_file_size=options.file_mb * 10**6,
        enable_monitoring=False,
        theme=theme(),
        css=CSS,
        head=POLICY,
    )
    add_live_page(application, hub, desk, workspace, options)
    return Page(url, public_url, workspace, blocks, desk, studio, hub)


def _free_port(options: ServeOptions) -> int:
    """The port, or any free one for 0. Raises InputError if it cannot be listened on."""
    try:
        with socket.create_server((options.host, options.port)) as listener:
            port: int = listener.getsockname()[1]
            return port
    except OSError as error:
        raise InputError(
            f"{options.host}:{options.port} is not free ({error.strerror or error}): choose another --port or --host"
        ) from error
