"""The pictures of the documentation, made by the commands that it shows, with the demo's files.

    python benchmarks/pictures.py [--only demo --only edit] [--output docs/pictures]

Run it again when the bundled weights change, and look at what it made. Takes some minutes on a processor.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "src" / "mien" / "demo"
_GAP, _HEIGHT, _QUALITIES, _BYTES = 6, 200, (85, 75, 65, 55, 45), 140_000


def mien(folder: Path, *words: str) -> None:
    """Run a command of this checkout's mien in a folder."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from mien.cli.app import main; main()"
    subprocess.run([sys.executable, "-c", code, str(ROOT / "src"), *words], cwd=folder, check=True)


def sheet(rows: Sequence[Sequence[np.ndarray]], output: Path, height: int = _HEIGHT) -> None:
    """Rows of pictures uint8 [h, w, 3], all of one height, white between them; written as a small JPEG."""
    lines = []
    for row in rows:
        fitted = [Image.fromarray(picture) for picture in row]
        fitted = [picture.resize((round(picture.width * height / picture.height), height)) for picture in fitted]
        line = Image.new("RGB", (sum(p.width for p in fitted) + _GAP * (len(fitted) - 1), height), "white")
        left = 0
        for picture in fitted:
            line.paste(picture, (left, 0))
            left += picture.width + _GAP
        lines.append(line)
    whole = Image.new("RGB", (max(p.width for p in lines), sum(p.height + _GAP for p in lines) - _GAP), "white")
    for index, line in enumerate(lines):
        whole.paste(line, (0, index * (height + _GAP)))
    save_small(whole, output)


def save_small(picture: Image.Image, output: Path) -> None:
    """Write a JPEG of a quality at which it is small."""
    for quality in _QUALITIES:
        picture.save(output, quality=quality, optimize=True)
        if output.stat().st_size < _BYTES:
            return


def moments(video: Path, count: int = 4) -> list[np.ndarray]:
    """Frames of a video, evenly spaced, the first and the last left out."""
    from mien.media import read_video

    frames = list(read_video(video))
    return [frames[round(len(frames) * (index + 1) / (count + 1))] for index in range(count)]


def thin_driver(folder: Path, every: int = 2) -> Path:
    """Some frames of the demo's driver: enough where a few moments are shown."""
    from mien.media import read_video, write_video

    return write_video(folder / "driver.mp4", list(read_video(DEMO / "driver.mp4"))[::every], Fraction(25, every))


def by_twos(pictures: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Two a row."""
    return [pictures[index : index + 2] for index in range(0, len(pictures), 2)]


def demo(folder: Path, output: Path) -> None:
    """`mien demo`: driver, portrait, result."""
    mien(folder, "demo")
    (preview,) = folder.rglob("demo.preview.mp4")
    sheet(by_twos(moments(preview)), output)


def animate(folder: Path, output: Path) -> None:
    """`mien animate`, the other portrait."""
    shutil.copy(DEMO / "portrait_2.png", folder / "portrait.png")
    shutil.copy(DEMO / "driver.mp4", folder)
    mien(folder, "animate", "-s", "portrait.png", "-d", "driver.mp4", "-o", "out.mp4", "--preview")
    sheet(by_twos(moments(folder / "out.preview.mp4")), output)


EDITS = (("--yaw", "15"), ("--smile", "0.8"), ("--blink", "1", "--brows", "0.5"), ("--jaw", "0.6"))


def edit(folder: Path, output: Path) -> None:
    """`mien edit`: the portrait, and what some sliders make of it."""
    from mien.media import read_image

    shutil.copy(DEMO / "portrait_2.png", folder / "portrait.png")
    row = [read_image(folder / "portrait.png")]
    for index, words in enumerate(EDITS):
        mien(folder, "edit", "-s", "portrait.png", "-o", f"{index}.png", *words)
        row.append(read_image(folder / f"{index}.png"))
    sheet([row], output)


GAINS: tuple[tuple[str, ...], ...] = ((), ("--mouth-gain", "0"), ("--mouth-gain", "2"), ("--head-gain", "0"))


def control(folder: Path, output: Path) -> None:
    """Gains: the driver, and below it a row for each choice."""
    shutil.copy(DEMO / "portrait_1.png", folder / "portrait.png")
    rows = [moments(thin_driver(folder), 6)]
    for index, words in enumerate(GAINS):
        mien(folder, "animate", "-s", "portrait.png", "-d", "driver.mp4", "-o", f"{index}.mp4", *words)
        rows.append(moments(folder / f"{index}.mp4", 6))
    sheet(rows, output, 150)


def all_faces(folder: Path, output: Path) -> None:
    """`--face all`: two people in one picture, three moments."""
    from mien.media import read_image, write_image

    both = [read_image(DEMO / f"portrait_{number}.png") for number in (1, 2)]
    write_image(folder / "portrait.png", np.concatenate(both, axis=1))
    thin_driver(folder)
    mien(folder, "animate", "-s", "portrait.png", "-d", "driver.mp4", "-o", "out.mp4", "--face", "all")
    sheet([moments(folder / "out.mp4", 3)], output, 180)


def page(folder: Path, output: Path) -> None:
    """`mien serve`: the first tab after a run. Needs mien[web], playwright and a Chromium."""
    from mien.web.options import ServeOptions
    from mien.web.serve import open_page

    served = open_page(ServeOptions(port=0, device="cpu", folder=folder))
    with closing(served), browser(output) as opened:
        tab = new_tab(opened, 1280, 900)
        run_in_page(tab, served.url, DEMO / "portrait_1.png", thin_driver(folder, 5))
        tab.screenshot(path=folder / "page.png", full_page=True)
    save_small(Image.open(folder / "page.png").convert("RGB"), output)


def run_in_page(tab: Any, url: str, portrait: Path, driver: Path) -> None:
    """Give two files to the web UI's first tab, and wait until it shows a late moment of the result."""
    tab.goto(url, wait_until="domcontentloaded")
    for label, path in (("Portrait", portrait), ("Driving video", driver)):
        place = tab.locator(f".block:has(label:has-text('{label}'))").first
        with tab.expect_response(lambda answer: "/upload?" in answer.url):
            place.locator("input[type=file]").set_input_files(str(path))
    tab.click("#animate-go")
    tab.locator("#animate-status", has_text="Done").wait_for()
    tab.wait_for_timeout(2000)
    tab.evaluate("document.querySelectorAll('video').forEach(v => { v.pause(); v.currentTime = v.duration * 0.8 })")
    tab.wait_for_timeout(2000)


def live(folder: Path, output: Path) -> None:
    """`mien live`: the page at work, the demo's driving video as its camera. Needs what `page` needs."""
    from mien.jobs.live_options import LiveOptions
    from mien.web.options import ServeOptions
    from mien.web.serve import open_page

    camera = demo_camera(folder / "camera.mjpeg")
    options = LiveOptions(portrait=DEMO / "portrait_2.png", device="cpu")
    served = open_page(ServeOptions(port=0, device="cpu", folder=folder), live=options)
    with closing(served), browser(output, camera) as opened:
        tab = new_tab(opened, 1280, 860)
        run_live(tab, f"{served.url}live/")
        tab.screenshot(path=folder / "live.png")
    save_small(Image.open(folder / "live.png").convert("RGB"), output)


def run_live(tab: Any, url: str) -> None:
    """Start the live page, and let it follow the camera until its rate has settled."""
    tab.goto(url, wait_until="domcontentloaded")
    tab.wait_for_selector("#live-sliders fieldset")
    tab.click("#live-start")
    tab.locator("#live-status", has_text="follows you").wait_for()
    tab.wait_for_timeout(30_000)


def demo_camera(path: Path) -> Path:
    """What Chromium takes for a camera: the demo's driving video up to a late moment, which then stays for a minute.

    So that the page shows portrait and camera alike, on a machine however slow.
    """
    import av

    from mien.media import open_clip

    with av.open(str(path), "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 480, "yuvj420p"
        frames = list(open_clip(DEMO / "driver.mp4"))
        for frame in frames[: round(len(frames) * 0.8)]:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            file.mux(stream.encode(picture.reformat(480, 480, "yuvj420p")))
        file.mux(stream.encode(None))
    last = path.read_bytes()
    last = last[last.rindex(b"\xff\xd8\xff") :]  # such a file is one JPEG after the other
    with path.open("ab") as more:
        more.writelines(last for _ in range(1800))
    return path


@contextmanager
def browser(output: Path, camera: Path | None = None) -> Iterator[Any]:
    """Headless Chromium. camera: a video in place of one."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu"]
    if camera is not None:
        flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        flags.append(f"--use-file-for-fake-video-capture={camera}")
    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=chromium(output), args=flags, timeout=600_000)
        yield opened
        opened.close()


def new_tab(opened: Any, width: int, height: int, **more: Any) -> Any:
    """A window of that size, patient with a busy machine."""
    tab = opened.new_page(viewport={"width": width, "height": height}, **more)
    tab.set_default_timeout(600_000)
    return tab


def train(folder: Path, output: Path) -> None:
    """`mien train vae`, twenty steps: what the run shows of itself."""
    from mien.media import read_image

    (folder / "pictures").mkdir()
    for number in (1, 2):
        shutil.copy(DEMO / f"portrait_{number}.png", folder / "pictures")
    mien(folder, "train", "vae", "--data", "pictures", "--out", "runs/vae", "--steps", "20", "--batch-size", "2")
    (shown,) = (folder / "runs" / "vae" / "pictures").glob("*.jpg")
    sheet([[read_image(shown)]], output, 260)


def evaluate(folder: Path, output: Path) -> None:
    """`mien evaluate run`: the top of its page. Needs mien[eval] and a Chromium."""
    shutil.copy(DEMO / "portrait_1.png", folder / "portrait.png")
    shutil.copy(DEMO / "driver.mp4", folder)
    driver = {"path": "driver.mp4", "frames": 16}
    pairs = [
        {"id": "self", "protocol": "self", "driver": driver},
        {"id": "cross", "protocol": "cross", "source": {"path": "portrait.png"}, "driver": driver},
    ]
    benchmark = {"format": "mien-benchmark/1", "name": "mine", "side": 256, "pairs": pairs}
    (folder / "bench.json").write_text(json.dumps(benchmark), encoding="utf-8")
    mien(folder, "evaluate", "run", "bench.json", "-o", "scores", "--system", "x-portrait", "--system", "copy-source")
    page_top(folder / "scores" / "report.html", output)


def chromium(output: Path) -> str:
    """The browser, or a sentence that ends the program."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit(f"{output} needs a Chromium: apt-get install chromium")
    return browser


def page_top(page: Path, output: Path, width: int = 1200, height: int = 370) -> None:
    """The upper part of a page as a picture."""
    browser = chromium(output)
    shot = page.with_suffix(".png")
    size = f"--window-size={width},{height + 200}"  # some versions draw their own bars over the lower part
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size, f"--screenshot={shot}"]
    subprocess.run([browser, *flags, page.as_uri()], check=True, capture_output=True)
    picture = Image.open(shot).convert("RGB").crop((0, 0, width, height))
    save_small(picture, output)


PICTURES: dict[str, Callable[[Path, Path], None]] = {
    "demo": demo,
    "animate": animate,
    "edit": edit,
    "control": control,
    "all_faces": all_faces,
    "page": page,
    "live": live,
    "train": train,
    "evaluate": evaluate,
}


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PICTURES))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    for name in arguments.only or PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            PICTURES[name](Path(folder), arguments.output / f"{name}.jpg")
        print(arguments.output / f"{name}.jpg")


if __name__ == "__main__":
    main()
