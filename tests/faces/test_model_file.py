from __future__ import annotations

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.errors import InputError
from mien.faces import load_face_reader
from mien.faces.model_file import CACHE_VARIABLE, MODEL_VARIABLE, cached_model, find_model, obtain_model


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


def _bundle(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for part in ("face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite"):
            bundle.writestr(part, b"x")
    return path


def test_fetched_once(served: tuple[Path, str]) -> None:
    folder, address = served
    _bundle(folder / "m.task")
    assert find_model() is None
    path = obtain_model(url=f"{address}/m.task")
    assert path == cached_model() and path.read_bytes() == (folder / "m.task").read_bytes()
    assert obtain_model(url=f"{address}/gone") == path  # the cache is asked first
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_failures_say_what_to_do_and_leave_nothing(served: tuple[Path, str]) -> None:
    folder, address = served
    (folder / "page.html").write_text("not a model")
    with pytest.raises(InputError, match=MODEL_VARIABLE):
        obtain_model(url=f"{address}/page.html")
    with pytest.raises(InputError, match="could not be fetched.*404"):
        obtain_model(url=f"{address}/missing.task")
    with pytest.raises(InputError, match="could not be fetched"):
        obtain_model(url="http://127.0.0.1:9/m.task")
    assert not cached_model().exists() and list(cached_model().parent.iterdir()) == []


def test_named_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = _bundle(tmp_path / "named.task")
    assert find_model(bundle) == bundle
    monkeypatch.setenv(MODEL_VARIABLE, str(bundle))
    assert find_model() == bundle
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path / "absent.task"))
    with pytest.raises(InputError, match="absent.task does not exist"):
        find_model()
    (tmp_path / "text.task").write_text("hello")
    with pytest.raises(InputError, match="no MediaPipe face landmarker"):
        find_model(tmp_path / "text.task")


def test_nothing_is_fetched_for_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr("mien.faces.model_file._fetch", lambda url, target: fetched.append(url))
    monkeypatch.setattr("mien.faces.mediapipe_reader.mediapipe_is_installed", lambda: False)
    with pytest.raises(InputError, match="needs the package mediapipe"):
        load_face_reader("mediapipe")
    assert not fetched
