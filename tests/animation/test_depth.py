"""From the command to the network's forward it is not far: whoever debugs a frame reads a short stack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import mien
from mien.cli.app import app
from mien.media import write_image, write_video
from samples import DrawnFaceReader, draw_face, job_pipeline, talking_frames
from tiny_dex import tiny_dex_pipeline

OURS = str(Path(mien.__file__).parent)
MOST = 12


def own_calls() -> list[str]:
    """The functions of this package on the stack, the outermost first."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(OURS):
            found.append(f"{Path(code.co_filename).relative_to(OURS)}:{code.co_name}")
        frame = frame.f_back  # type: ignore[assignment]
    return found[::-1]


@pytest.mark.parametrize("make", [job_pipeline, tiny_dex_pipeline])
def test_few_calls_lie_between_the_command_and_the_network(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, stacks = make(), []
    pipe.save_pretrained(tmp_path / "model")
    forward = type(pipe.unet).forward

    def watched(*args: Any, **more: Any) -> Any:
        stacks.append([*own_calls(), "forward"])
        return forward(*args, **more)

    monkeypatch.setattr(type(pipe.unet), "forward", watched)
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())
    write_image(tmp_path / "p.png", draw_face(61, 53))
    write_video(tmp_path / "d.mp4", talking_frames(9), 25)
    words = ["animate", "-s", "p.png", "-d", "d.mp4", "-o", "o.mp4", "--model", "model"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        app(words)
    assert stacks
    longest = max(stacks, key=len)
    assert longest[0].startswith("cli/app.py") and len(longest) <= MOST, "\n".join(longest)
