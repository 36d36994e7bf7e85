"""ComfyUI's folders with tiny models and drawn faces, and a stand-in for ComfyUI that has them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from comfyui_host import FRAMES, PACK, Host

from mien.media import write_image, write_video
from samples import RATE, DrawnFaceReader, draw_face, talking_frames, write_tone
from tiny_dex import tiny_dex_pipeline
from window_faces import DrawnPersonMask, window_pipeline

_FILES = ("portrait.png", "expression.png", "driver.mp4", "source.mp4")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny models, a portrait, a driver and a source video with sound, a face with an expression."""
    folder = tmp_path_factory.mktemp("comfyui")
    window_pipeline().save_pretrained(folder / "mien" / "tiny")
    tiny_dex_pipeline().save_pretrained(folder / "mien" / "dex")
    write_image(folder / "portrait.png", draw_face(110, 90))
    write_image(folder / "expression.png", draw_face(96, 80, mouth=0.8))
    tone = write_tone(folder / "tone.wav", 1.0)
    write_video(folder / "driver.mp4", talking_frames(FRAMES), RATE, audio_from=tone)
    write_video(folder / "source.mp4", reversed(list(talking_frames(FRAMES))), RATE, audio_from=tone)
    return folder


@pytest.fixture
def host(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A ComfyUI with the node pack, tiny models and a reader of drawn faces."""
    made = Host(tmp_path, monkeypatch)
    for name in _FILES:
        (made.input / name).symlink_to(folders / name)
    (made.models / "mien").symlink_to(folders / "mien")
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: DrawnFaceReader())
    monkeypatch.setattr("mien.animation.cutting.PersonMask", DrawnPersonMask)
    made.load(PACK)
    return made
