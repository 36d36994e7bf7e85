"""Files that nobody should have to be afraid of: good ones, and what seeds make of them."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, PngImagePlugin

from media_samples import make_video
from mien.media import write_video
from samples import draw_face, talking_frames, write_tone

IMAGES = (".png", ".jpg", ".webp", ".bmp", ".tif", ".gif")
VIDEOS = (".mp4", ".mkv", ".webm", ".gif", ".mov")
Make = Callable[[Path], Path]  # in a fresh folder; returns what to name on the command line


def image_bytes(suffix: str, image: Image.Image | None = None, **options: object) -> bytes:
    """A drawn face as a file of a format."""
    buffer = io.BytesIO()
    picture = Image.fromarray(draw_face(61, 53)) if image is None else image
    picture.save(buffer, Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


class Videos:
    """One small good video a format, made once."""

    def __init__(self, folder: Path) -> None:
        tone = write_tone(folder / "tone.wav", 0.3)
        self.bytes: dict[str, bytes] = {}
        for suffix in VIDEOS:
            sound = None if suffix == ".gif" else tone
            path = write_video(folder / f"good{suffix}", talking_frames(4), 25, audio_from=sound)
            self.bytes[suffix] = path.read_bytes()


def mutated(content: bytes, how: str, seed: int) -> bytes:
    """What is left of a file: cut, flipped, zeroed, shuffled, doubled, or with junk before or behind."""
    rng, data = np.random.default_rng(seed), bytearray(content)
    size = len(data)
    if how == "cut":
        return content[: int(size * (0.02, 0.1, 0.3, 0.5, 0.8, 0.97)[seed % 6])]
    if how == "flipped":
        for place in rng.integers(0, size, 1 + size // (2000, 200, 40)[seed % 3]):
            data[place] ^= 1 << int(rng.integers(8))
    elif how == "head":
        for place in rng.integers(0, min(size, 64), 6):
            data[place] = int(rng.integers(256))
    elif how == "zeroed":
        start = int(rng.integers(size))
        data[start : start + size // 4] = bytes(len(data[start : start + size // 4]))
    elif how == "shuffled":
        parts = [content[i : i + size // 7 + 1] for i in range(0, size, size // 7 + 1)]
        return b"".join(parts[int(i)] for i in rng.permutation(len(parts)))
    elif how == "junk before":
        return rng.bytes(500) + content
    elif how == "junk behind":
        return content + rng.bytes(5000)
    return bytes(data)


def named(name: str, content: bytes | Callable[[], bytes]) -> Make:
    """A file of that name and content."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content())
        return path

    return make


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG whose header says what you say, whatever its data are."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose frame header states another size."""
    data = bytearray(image_bytes(".jpg"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp_of_size(width: int, height: int) -> bytes:
    data = bytearray(image_bytes(".bmp"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return image_bytes(".jpg", exif=exif)


def text_bomb() -> bytes:
    """A PNG whose comment unpacks to 200 MB."""
    info = PngImagePlugin.PngInfo()
    info.add(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
    return image_bytes(".png", pnginfo=info)


def modes() -> dict[str, bytes]:
    """The face in every way that pixels are stored."""
    rgb = Image.fromarray(draw_face(61, 53))
    clear = rgb.convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 61).astype(np.uint8), (53, 1))))
    sixteen = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    floats = np.asarray(rgb.convert("L")).astype(np.float32) / 255
    broken = floats.copy()
    broken[::2] = np.nan
    broken[1::4] = np.inf
    return {
        "grey.png": image_bytes(".png", rgb.convert("L")),
        "one_bit.png": image_bytes(".png", rgb.convert("1")),
        "palette.png": image_bytes(".png", rgb.quantize(8)),
        "palette_clear.png": image_bytes(".png", rgb.quantize(8), transparency=3),
        "clear.png": image_bytes(".png", clear),
        "grey_clear.png": image_bytes(".png", clear.convert("LA")),
        "clear.webp": image_bytes(".webp", clear),
        "sixteen.png": image_bytes(".png", sixteen),
        "sixteen.tif": image_bytes(".tif", sixteen),
        "cmyk.jpg": image_bytes(".jpg", rgb.convert("CMYK")),
        "cmyk.tif": image_bytes(".tif", rgb.convert("CMYK")),
        "ycbcr.tif": image_bytes(".tif", rgb.convert("YCbCr")),
        "lab.tif": image_bytes(".tif", rgb.convert("LAB")),
        "float.tif": image_bytes(".tif", Image.fromarray(floats)),
        "nan.tif": image_bytes(".tif", Image.fromarray(broken)),
        "progressive.jpg": image_bytes(".jpg", progressive=True),
        "profile.png": image_bytes(".png", icc_profile=b"no profile at all" * 9),
        "exif.jpg": image_bytes(".jpg", exif=b"Exif\0\0garbage" * 3),
        "animated.gif": image_bytes(".gif", save_all=True, append_images=[rgb.rotate(9)] * 3),
        "animated.webp": image_bytes(".webp", save_all=True, append_images=[rgb.rotate(9)] * 3),
        "animated.png": image_bytes(".png", save_all=True, append_images=[rgb.rotate(9)] * 3),
    }


def portraits() -> dict[str, Make]:
    """Pictures by what is the matter with them."""
    cases: dict[str, Make] = {}
    for suffix in IMAGES:
        content = image_bytes(suffix)
        for how, seeds in (("cut", 5), ("flipped", 4), ("head", 2), ("zeroed", 1), ("shuffled", 1)):
            for seed in range(seeds):
                cases[f"{how} {seed} {suffix}"] = named(f"p{suffix}", mutated(content, how, seed))
        cases[f"empty {suffix}"] = named(f"p{suffix}", b"")
        cases[f"text {suffix}"] = named(f"p{suffix}", b"Dear diary,\n" * 40)
        cases[f"junk before {suffix}"] = named(f"p{suffix}", mutated(content, "junk before", 0))
        cases[f"junk behind {suffix}"] = named(f"p{suffix}", mutated(content, "junk behind", 0))
        other = IMAGES[(IMAGES.index(suffix) + 1) % len(IMAGES)]
        cases[f"{suffix} called {other}"] = named(f"p{other}", content)
    for name, content in modes().items():
        cases[name] = named(name, content)
    for size in (
        (65535, 65535),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (2**32 - 1, 2**32 - 1),
        (0, 0),
        (0, 9),
        (30000, 30000),
    ):
        cases[f"PNG of {size}"] = named("p.png", png(*size))
        cases[f"BMP of {size}"] = named("p.bmp", bmp_of_size(*(min(n, 2**31 - 1) for n in size)))
        cases[f"JPEG of {size}"] = named("p.jpg", jpeg_of_size(*(min(n, 65535) for n in size)))
    for depth, colour in ((16, 2), (3, 2), (8, 7), (1, 3), (16, 6)):
        cases[f"PNG of depth {depth} and colour {colour}"] = named("p.png", png(8, 8, depth, colour, bytes(999)))
    for orientation in (*range(10), 99, 65535):
        cases[f"orientation {orientation}"] = named("p.jpg", with_exif(orientation))
    for width, height in ((1, 1), (1, 300), (300, 1), (2, 2), (7, 5), (2, 999)):
        face = Image.fromarray(draw_face(width, height))
        cases[f"{width} x {height}"] = named("p.png", image_bytes(".png", face))
    cases["bomb in a comment"] = named("p.png", text_bomb)
    for suffix in (".heic", ".svg", ".pdf", ".exe", ".zip", ""):
        cases[f"picture called p{suffix}"] = named(f"p{suffix}", image_bytes(".png"))
    return cases | {f"name {name!r}": named(name, image_bytes(".png")) for name in NAMES} | places(".png")


NAMES = [
    f"{start}.png"
    for start in (
        "ümläut",
        "表情",
        "🙂",
        "a b",
        "a\nb",
        "a\tb",
        "'a\"b",
        "-s",
        "--help",
        "%03d",
        "a#b",
        "a;b",
        "$HOME",
        "a:b",
    )
] + ["x" * 200 + ".png", "[red]a.png", "a.b.c.png", ".hidden.png", "*.png", "~.png", "\u202egnp.exe.png"]


def places(suffix: str) -> dict[str, Make]:
    """What is no file, under the name of one."""

    def folder(place: Path) -> Path:
        (place / f"p{suffix}").mkdir()
        return place / f"p{suffix}"

    def loop(place: Path) -> Path:
        (place / f"p{suffix}").symlink_to(place / f"q{suffix}")
        (place / f"q{suffix}").symlink_to(place / f"p{suffix}")
        return place / f"p{suffix}"

    def dangling(place: Path) -> Path:
        (place / f"p{suffix}").symlink_to(place / "nothing")
        return place / f"p{suffix}"

    def pipe(place: Path) -> Path:
        os.mkfifo(place / f"p{suffix}")
        return place / f"p{suffix}"

    def unreadable(place: Path) -> Path:
        path = named(f"p{suffix}", b"secret")(place)
        path.chmod(0)
        return path

    made: dict[str, Make] = {
        "a folder": folder,
        "a loop of links": loop,
        "a link to nothing": dangling,
        "a pipe": pipe,
        "unreadable": unreadable,
        "missing": lambda place: place / f"gone{suffix}",
        "too long a name": lambda place: place / ("x" * 300 + suffix),
        "too long a path": lambda place: place / "/".join(["x" * 100] * 60) / f"p{suffix}",
        "below a file": lambda place: named("file", b"x")(place) / f"p{suffix}",
        "the folder itself": lambda place: place,
    }
    for device in ("/dev/null", "/dev/zero", "/dev/stdin", "/", "/proc/self/mem", "http://localhost/a.png", "pipe:0"):
        made[device] = lambda place, device=device: Path(device)  # type: ignore[misc]
    return made


def drivers(videos: Videos) -> dict[str, Make]:
    """Videos by what is the matter with them, and folders of pictures."""
    cases: dict[str, Make] = {}
    for suffix, content in videos.bytes.items():
        for how, seeds in (("cut", 6), ("flipped", 5), ("head", 2), ("zeroed", 1), ("shuffled", 1)):
            for seed in range(seeds):
                cases[f"{how} {seed} {suffix}"] = named(f"d{suffix}", mutated(content, how, seed + 10))
        cases[f"empty {suffix}"] = named(f"d{suffix}", b"")
        cases[f"text {suffix}"] = named(f"d{suffix}", b"<html>Not found</html>\n" * 40)
        cases[f"junk before {suffix}"] = named(f"d{suffix}", mutated(content, "junk before", 0))
        cases[f"{suffix} called .avi"] = named("d.avi", content)
    for name, content in scripts().items():
        cases[name] = named(name.split()[-1], content)
    mp4 = videos.bytes[".mp4"]
    for box in (b"mvhd", b"mdhd", b"stts", b"tkhd", b"stsz", b"stco", b"avcC", b"elst"):
        cases[f"MP4 with zeros in {box.decode()}"] = named("d.mp4", in_box(mp4, box, b"\0" * 24))
        cases[f"MP4 with ones in {box.decode()}"] = named("d.mp4", in_box(mp4, box, b"\xff" * 24))
    return cases | clips() | folders() | places(".mp4")


def in_box(content: bytes, box: bytes, patch: bytes) -> bytes:
    at = content.find(box)
    return content if at < 0 else content[: at + 8] + patch + content[at + 8 + len(patch) :]


def scripts() -> dict[str, bytes]:
    """Texts that would make a careless reader open other files or addresses."""
    return {
        "playlist d.m3u8": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "playlist d.mp4": b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n#EXT-X-ENDLIST\n",
        "concatenation d.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "session d.sdp": b"v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\n",
        "subtitles d.srt": b"1\n00:00:00,000 --> 00:00:01,000\nHello\n",
        "pickle d.mp4": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    }


def clips() -> dict[str, Make]:
    """Videos that are unusual, and fine."""
    face = talking_frames(4)
    cases: dict[str, Make] = {
        "one frame": lambda p: write_video(p / "d.mp4", face[:1], 25),
        "odd size": lambda p: make_video(p / "d.mkv", talking_frames(3, 65, 49), codec="ffv1", pixel_format="yuv444p"),
        "uneven times": lambda p: write_video(p / "d.mp4", face, 25, times=[Fraction(t, 100) for t in (0, 1, 90, 300)]),
        "sound only": lambda p: write_tone(p / "d.wav", 0.2),
        "sound called mp4": lambda p: write_tone(p / "d.wav", 0.2).rename(p / "d.mp4"),
        "no face": lambda p: write_video(p / "d.mp4", [np.full((64, 64, 3), 60, np.uint8)] * 3, 25),
        "a face at times": lambda p: write_video(
            p / "d.mp4", [face[0], np.zeros_like(face[0]), face[1], np.zeros_like(face[0])], 25
        ),
        "two pixels": lambda p: write_video(p / "d.mp4", [np.full((2, 2, 3), 9, np.uint8)] * 3, 25),
        "a strip": lambda p: write_video(p / "d.mp4", [np.full((16, 900, 3), 200, np.uint8)] * 2, 25),
        "no frames": no_frames,
    }
    for rate in (Fraction(1, 100), Fraction(1000), Fraction(30000, 1001), Fraction(1, 3)):
        cases[f"rate {rate}"] = lambda p, rate=rate: write_video(p / "d.mp4", face, rate)  # type: ignore[misc]
    return cases


def no_frames(place: Path) -> Path:
    with av.open(str(place / "d.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    return place / "d.mp4"


def folders() -> dict[str, Make]:
    """Folders of pictures, most of them in a bad way."""

    def of(**files: bytes) -> Make:
        def make(place: Path) -> Path:
            (place / "d").mkdir()
            for name, content in files.items():
                (place / "d" / name.replace("_png", ".png").replace("_txt", ".txt")).write_bytes(content)
            return place / "d"

        return make

    def with_loop(place: Path) -> Path:
        path = of(a_png=image_bytes(".png"))(place)
        (path / "b.png").symlink_to(path)
        (path / "c.png").symlink_to(path / "c.png")
        os.mkfifo(path / "d.png")
        return path

    good, small = image_bytes(".png"), image_bytes(".png", Image.fromarray(draw_face(32, 30)))
    return {
        "folder of nothing": of(),
        "folder of texts": of(a_txt=b"a", b_txt=b"b"),
        "folder of sizes": of(a_png=good, b_png=small),
        "folder with a bad first": of(a_png=good[:50], b_png=good),
        "folder with a bad second": of(a_png=good, b_png=good[:300], c_png=good),
        "folder with an empty one": of(a_png=good, b_png=b""),
        "folder of loops": with_loop,
        "folder that is fine": of(a_png=good, b_png=good),
    }
