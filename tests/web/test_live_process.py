"""`mien live` as a process of its own: frames both ways, then an end that leaves nothing but the recording."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mien.jobs.demo import FOLDER
from mien.media import open_clip, read_image

pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
client = pytest.importorskip("websockets.sync.client", reason="needs websockets: pip install 'mien[web]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a program could hear"),
]
_MAIN = "from mien.cli.app import main; main()"


def test_it_follows_records_and_leaves_no_process(tmp_path: Path) -> None:
    from mien.web.live_hub import decoded_frame, encoded_picture
    from mien.web.live_stream import FRAME

    record, folder = tmp_path / "shown.mp4", tmp_path / "temporary"
    folder.mkdir()
    words = ["live", "-s", str(FOLDER / "portrait_1.png"), "-p", "0", "--no-browser", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, *words, "--size", "256", "--record", str(record)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, so that children would be found
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:") and address.endswith("/live/"), address
        shown = []
        with client.connect(address.replace("http", "ws") + "stream", open_timeout=300, max_size=None) as socket:
            frames = list(open_clip(FOLDER / "driver.mp4"))[::20]
            for number, frame in enumerate(frames, 1):
                socket.send(struct.pack(">BI", FRAME, number) + encoded_picture(frame))
                while True:  # until this frame's picture
                    message = socket.recv(timeout=300)
                    if isinstance(message, bytes) and struct.unpack(">I", message[:4])[0] == number:
                        shown.append(decoded_frame(message[4:]).astype(int))
                        break
        own = read_image(FOLDER / "portrait_1.png")[::2, ::2].astype(int)
        assert shown[0].shape == own.shape and abs(shown[-1] - shown[0]).mean() > 0.5
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 0
        assert process.stdout.read().strip() == str(record)
    finally:
        process.kill()
        process.wait()
    assert open_clip(record).count() == len(shown)
    assert not list(folder.glob("mien-*"))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
