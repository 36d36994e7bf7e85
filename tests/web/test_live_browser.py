"""The live page in headless Chromium, whose camera is a video: what a person sees and does, and what goes wrong."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien.jobs.demo import FOLDER
from mien.jobs.live_options import LiveOptions
from mien.media import open_clip, read_image, write_image
from mien.web.options import ServeOptions

pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
pytest.importorskip("websockets", reason="needs websockets: pip install 'mien[web]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium"),
]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream"),
]
PORTRAIT = FOLDER / "portrait_1.png"
PATIENCE = 120_000  # milliseconds; processors are shared


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's driving video as a camera."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with av.open(str(path), "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuvj420p"
        for frame in open_clip(FOLDER / "driver.mp4"):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(320, 320, "yuvj420p")
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from mien.web.serve import open_page

    folder = tmp_path_factory.mktemp("serving")
    record = tmp_path_factory.mktemp("recorded") / "shown.mp4"
    live = LiveOptions(portrait=PORTRAIT, device="cpu", size=256, record=record)
    opened = open_page(ServeOptions(port=0, device="cpu", folder=folder), live=live)
    yield opened
    opened.close()
    assert not list(folder.iterdir())  # nothing is left behind
    assert open_clip(record).count() > 1 and open_clip(record).info.width == 256
    assert opened.live._session is None


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Any]:
    fake = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *fake])
        yield opened
        opened.close()


@pytest.fixture
def page(server: Any, browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.grant_permissions(["camera"])
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.goto(f"{server.url}live/", wait_until="domcontentloaded")
    opened.wait_for_selector("#live-sliders fieldset")
    yield opened
    context.close()
    assert not troubles


def status(page: Any, words: str) -> str:
    """Wait until the page says it."""
    place = page.locator("#live-status", has_text=re.compile(words))
    place.wait_for()
    return str(place.inner_text())


def shown(page: Any) -> np.ndarray:
    """The picture on the page."""
    script = """() => { const c = document.getElementById('live-result');
        return [c.width, c.height, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"""
    width, height, *values = page.evaluate(script)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def until(page: Any, script: str) -> None:
    """Wait until a script says true; the page's own policy forbids what Playwright would wait with."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script):
        assert time.monotonic() < deadline, script
        page.wait_for_timeout(100)


def pictures(page: Any, more: int = 2) -> None:
    """Wait until that many frames later pictures have been drawn."""
    number = "Number(document.getElementById('live-result').dataset.number || 0)"
    before = page.evaluate(number)
    until(page, f"{number} >= {before + more}")


def started(page: Any) -> None:
    page.click("#live-start")
    status(page, "Live: the portrait follows you")


def test_frames_come_back_changed_with_rate_and_latency(page: Any) -> None:
    until(page, "document.getElementById('live-result').dataset.number === '0'")
    before = shown(page)
    started(page)
    pictures(page, 3)
    after = shown(page)
    assert after.shape == before.shape == (256, 256, 3)
    assert abs(after.astype(int) - before).mean() > 0.3
    until(page, "parseFloat(document.getElementById('live-rate').textContent) > 0")
    told = page.inner_text("#live-latency")
    found = re.fullmatch(r"(\d+) ms \((\d+\.\d) pictures\)", told)
    assert found and int(found[1]) > 0, told


def test_pictures_never_come_later_than_two_of_them(page: Any, server: Any) -> None:
    """A slow machine leaves frames out."""
    started(page)
    session = server.live.session()
    for _ in range(4):
        pictures(page)
        assert session.state().behind in (1, 2)
    assert session.state().rate > 0


def test_sliders_mirror_and_calibration_work_while_it_runs(page: Any, server: Any) -> None:
    started(page)
    page.locator("#live-yaw").fill("20")
    page.locator("#live-mouth_gain").fill("0.5")
    page.uncheck("#live-mirror")
    page.click("#live-calibrate")
    status(page, "Calibrated")
    live = server.live.session().live
    pictures(page)
    assert (live.control.change.yaw, live.control.config.mouth_gain, live.mirror) == (20, 0.5, False)
    page.click("#live-reset")
    page.check("#live-mirror")
    pictures(page)
    assert (live.control.change.yaw, live.control.config.mouth_gain, live.mirror) == (0, 1, True)


def test_another_portrait_without_a_stop_and_a_bad_one_in_a_sentence(page: Any, tmp_path: Path) -> None:
    started(page)
    page.locator("#live-portraits img").nth(1).press("Enter")  # by the keyboard, as a click
    status(page, "The portrait was changed|Live:")
    pictures(page)
    wanted = read_image(FOLDER / "portrait_2.png")
    picture = shown(page)
    assert abs(picture[:8].mean((0, 1)) - wanted[:16].mean((0, 1))).max() < 12  # its background
    blank = write_image(tmp_path / "blank.png", np.full((300, 300, 3), 128, np.uint8))
    page.set_input_files("#live-portrait", str(blank))
    assert status(page, "No face was found").startswith("No face was found in blank.png")
    pictures(page)
    page.set_input_files("#live-portrait", str(PORTRAIT))
    status(page, "The portrait was changed|Live:")


def test_a_camera_that_is_lost_is_told_and_found_again(page: Any) -> None:
    started(page)
    page.evaluate(
        """() => { const devices = navigator.mediaDevices, real = devices.getUserMedia.bind(devices);
        window.giveBack = () => { devices.getUserMedia = real; };
        devices.getUserMedia = () => Promise.reject(new DOMException('gone', 'NotFoundError'));
        const track = state.stream.getVideoTracks()[0]; track.stop(); track.dispatchEvent(new Event('ended')); }"""
    )
    status(page, "was it unplugged|No camera was found")
    status(page, "No camera was found: plug one in, and this goes on.")
    page.evaluate("() => window.giveBack()")
    status(page, "Live: the portrait follows you")
    pictures(page)


@pytest.mark.parametrize(
    ("name", "sentence"), [("NotReadableError", "another program may have it"), ("NotAllowedError", "allow it beside")]
)
def test_a_camera_that_is_not_given_is_told(page: Any, name: str, sentence: str) -> None:
    page.evaluate(
        "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', name)); }", name
    )
    page.click("#live-start")
    status(page, sentence)
    page.click("#live-start")
    status(page, "Press Start")


def test_a_second_window_is_sent_away_and_gets_its_turn(page: Any, server: Any) -> None:
    other = page.context.new_page()
    other.goto(f"{server.url}live/", wait_until="domcontentloaded")
    status(other, "open in another window")
    page.goto("about:blank")
    status(other, "Press Start")
    other.close()


def test_the_tab_of_the_web_ui_holds_the_same_page(page: Any, server: Any) -> None:
    page.goto(server.url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="Live", exact=True).click()
    frame = page.frame_locator("#live-frame")
    frame.locator("#live-sliders fieldset").first.wait_for()
    frame.locator("#live-start").click()
    frame.locator("#live-status", has_text="Live: the portrait follows you").wait_for()
