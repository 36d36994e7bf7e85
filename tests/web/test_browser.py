"""The page in a real browser: headless Chromium, the bundled nano, a driver of a few frames."""

from __future__ import annotations

import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.jobs.demo import FOLDER
from mien.media import open_clip, read_image, write_video
from mien.web.options import ServeOptions

pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium"),
]

# without the background's requests, which a machine without a network refuses by the hundred
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PORTRAIT = FOLDER / "portrait_1.png"
FRAMES = 6
PATIENCE = 120_000  # milliseconds; processors are shared


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from mien.web.serve import open_page

    folder = tmp_path_factory.mktemp("serving")
    server = open_page(ServeOptions(port=0, device="cpu", folder=folder))
    yield server
    server.close()
    assert not list(folder.iterdir())  # nothing is left behind


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(page_server: Any, browser: Any) -> Iterator[Any]:
    yield from _opened(page_server, browser, 1280, 900)


@pytest.fixture
def phone(page_server: Any, browser: Any) -> Iterator[Any]:
    yield from _opened(page_server, browser, 390, 844)


def _opened(server: Any, browser: Any, width: int, height: int) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    asked: list[Any] = []
    context.on("request", lambda one: asked.append(one))
    opened = context.new_page()
    opened.goto(server.url, wait_until="domcontentloaded")
    opened.wait_for_selector("#animate-go")
    yield opened
    # whatever was done, nobody else was asked for anything
    foreign = [one for one in asked if one.url.startswith("http") and not one.url.startswith(server.url)]
    assert not [one.url for one in foreign if one.failure != "csp"]
    context.close()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = list(open_clip(FOLDER / "driver.mp4"))[:: 60 // FRAMES][:FRAMES]
    path = tmp_path_factory.mktemp("driver") / "short.mp4"
    write_video(path, frames, 6)
    return path


def upload(page: Any, label: str, path: Path) -> None:
    """Put a file into the first place of that label, and wait until the server has it."""
    place = page.locator(f".block:has(label:has-text('{label}'))").first
    with page.expect_response(lambda answer: "/upload?" in answer.url):
        place.locator("input[type=file]").set_input_files(str(path))


def status(page: Any, words: str, tab: str = "animate") -> str:
    """Wait until the status says it."""
    place = page.locator(f"#{tab}-status", has_text=re.compile(words))
    place.wait_for()
    return str(place.inner_text())


def download(page: Any, where: str, folder: Path) -> Path:
    """What the first link of a list of files gives."""
    link = page.locator(f"{where} a[download]").first
    link.wait_for()
    with page.expect_download() as begun:
        link.click()
    saved = folder / str(begun.value.suggested_filename)
    begun.value.save_as(saved)
    return saved


def test_uploads_become_a_video_that_plays_and_can_be_downloaded(page: Any, driver: Path, tmp_path: Path) -> None:
    upload(page, "Portrait", PORTRAIT)
    upload(page, "Driving video", driver)
    page.click("#animate-go")
    told = status(page, "Done|wrong|missing|Not")
    assert told.startswith(f"Done: {FRAMES} frames of 512 x 512 pixels.")
    page.wait_for_function("document.querySelector('#animate-result video')?.readyState >= 2")
    saved = download(page, "#animate-files", tmp_path)
    assert saved.name == "portrait_1--short.mp4"
    frames = list(open_clip(saved))
    assert (len(frames), frames[0].shape) == (FRAMES, read_image(PORTRAIT).shape)
    assert abs(frames[0].astype(int) - frames[-1]).mean() > 0.3
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#animate-share")  # this browser has no menu to share by, so the address is copied
    assert status(page, "copied|browser|no result").startswith("The result's address was copied.")
    answer = page.request.get(page.evaluate("navigator.clipboard.readText()"))
    assert answer.status == 200 and answer.body() == saved.read_bytes()


def test_an_example_runs_at_a_click_and_stop_leaves_nothing(page: Any, page_server: Any) -> None:
    results = page_server.workspace.root / "results"
    before = set(results.rglob("*.mp4"))
    page.locator("#animate-examples tr").nth(1).click()
    status(page, "%")
    page.click("#animate-stop")
    assert status(page, "Stopped") == "Stopped. Nothing was written."
    turn = page_server.studio._turn
    assert turn.acquire(timeout=60)  # the job has ended, not only its bar
    turn.release()
    time.sleep(0.2)
    assert set(results.rglob("*.mp4")) == before
    assert not list(results.rglob(".*.part*"))


def test_the_example_of_pose_and_expression_apart_runs_at_a_click(page: Any, page_server: Any) -> None:
    page.get_by_role("button", name="Head pose and expression from different videos").click()
    page.locator("#apart-examples tr").nth(1).click()
    status(page, "%")
    assert page.get_by_label("DeX-Portrait", exact=True).is_checked()
    page.click("#animate-stop")
    assert status(page, "Stopped") == "Stopped. Nothing was written."
    turn = page_server.studio._turn
    assert turn.acquire(timeout=60)
    turn.release()


@pytest.mark.parametrize(("label", "name"), [("Portrait", "broken.png"), ("Driving video", "broken.mp4")])
def test_a_bad_file_is_told_in_one_sentence(page: Any, driver: Path, tmp_path: Path, label: str, name: str) -> None:
    bad = tmp_path / name
    bad.write_bytes(b"this is neither a picture nor a video" * 10)
    upload(page, "Portrait", bad if label == "Portrait" else PORTRAIT)
    upload(page, "Driving video", bad if label == "Driving video" else driver)
    page.click("#animate-go")
    told = status(page, name.replace(".", r"\."))
    assert told.startswith(name) and told.count(". ") == 0
    assert "Traceback" not in page.content() and "mien-serve-" not in told


def test_sliders_change_the_picture_at_once_and_reset_takes_it_back(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Edit").click()
    page.locator("#edit-examples button, #edit-examples td").first.click()
    status(page, "Move the sliders", "edit")
    image = page.locator("#edit-result img")
    image.wait_for()
    first = image.get_attribute("src")
    slider = page.locator("#edit-yaw input[type=range]")
    slider.focus()
    slider.press("End")
    page.wait_for_function("old => document.querySelector('#edit-result img').src !== old", arg=first)
    page.click("#edit-go")
    status(page, "Done", "edit")
    saved = download(page, "#edit-files", tmp_path)
    assert abs(read_image(saved).astype(int) - read_image(PORTRAIT)).mean() > 2
    page.click("#edit-reset")
    page.wait_for_function("document.querySelector('#edit-yaw input[type=range]').value === '0'")


def test_a_batch_gives_a_zip(page: Any, driver: Path, tmp_path: Path) -> None:
    short = tmp_path / "two.mp4"
    write_video(short, list(open_clip(driver))[:2], 6)
    page.get_by_role("tab", name="Batch").click()
    for label, path in (("Portraits", PORTRAIT), ("Driving videos", short)):
        upload(page, label, path)
    page.click("#batch-go")
    assert status(page, "pairs|wrong", "batch").startswith("1 of 1 pairs animated.")
    with zipfile.ZipFile(download(page, "#batch-files", tmp_path)) as archive:
        assert archive.namelist() == ["portrait_1--two.mp4"]


def test_on_a_phone_nothing_needs_to_be_scrolled_sideways(phone: Any) -> None:
    for tab in ("Animate", "Edit", "Batch", "About"):
        phone.get_by_role("tab", name=tab, exact=True).click()
        phone.wait_for_timeout(300)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390, tab


def test_on_a_phone_the_result_is_right_below_the_button(phone: Any) -> None:
    phone.add_style_tag(content="#animate-result { display: block !important; height: 2rem !important }")  # as with one
    names = ("inputs", "go", "status", "result", "examples")
    places = [phone.locator(f"#animate-{name}").bounding_box() for name in names]
    assert [place["y"] for place in places] == sorted(place["y"] for place in places)
    assert places[-1]["y"] < 844  # examples are seen without scrolling


def test_on_a_phone_the_picture_stays_in_view_beside_the_sliders(phone: Any) -> None:
    phone.get_by_role("tab", name="Edit", exact=True).click()
    phone.locator("#edit-brows").scroll_into_view_if_needed()
    phone.wait_for_timeout(300)
    place = phone.locator("#edit-result").bounding_box()
    assert place["y"] >= 0 and place["y"] + place["height"] < 844


# what a screen reader says of whatever can be clicked or shows something, where that is nothing at all
NAMELESS = """() => {
  const named = (e) => (e.getAttribute('aria-label') || e.innerText || e.alt || e.title || e.placeholder
    || (e.labels && e.labels.length && e.labels[0].innerText) || '').trim();
  return [...document.querySelectorAll('button, input, select, textarea, a, img, video, td[tabindex]')]
    .filter((e) => e.offsetParent !== null && !named(e)).map((e) => e.outerHTML.slice(0, 200));
}"""


def test_everything_on_the_page_has_a_name(page: Any) -> None:
    for tab in ("Animate", "Edit", "Batch", "About"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(1500)
        assert page.evaluate(NAMELESS) == [], tab
    page.get_by_role("tab", name="Animate", exact=True).click()
    for words in ("Choose: Portrait", "Choose: Driving video", "Example 2"):
        assert page.locator(f"[aria-label='{words}']").first.is_visible(), words
    assert page.locator("#animate-status").get_attribute("aria-live") == "polite"


def test_the_keyboard_comes_by_everything_in_the_order_of_the_page(page: Any) -> None:
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("() => document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        )
    wanted = ["Choose: Portrait", "Choose: Driving video", "Animate", "Stop", "Example 1", "Motion"]
    places = [next(i for i, words in enumerate(seen) if i > 3 and words.startswith(start)) for start in wanted]
    assert places == sorted(places), seen


def test_files_beside_the_pages_own_are_not_served(page: Any, page_server: Any) -> None:
    for path in ("/etc/passwd", str(Path(__file__)), str(page_server.workspace.root.parent)):
        for route in ("gradio_api/file=", "file="):
            assert page.request.get(f"{page_server.url}{route}{path}").status in (403, 404)


def test_the_browser_is_kept_from_asking_other_servers(page: Any) -> None:
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text))
    page.evaluate("fetch('https://example.org/core.js').catch(() => null)")
    page.wait_for_timeout(300)
    assert any("Content Security Policy" in text for text in refused)
