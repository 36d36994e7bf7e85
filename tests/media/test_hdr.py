"""HDR and wide-gamut video, made with the standards' own formulas, comes out as the plain video it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from media_samples import make_video, set_matrix
from mien.media import open_clip
from mien.media.hdr import HLG, PQ, ColourSpace, ToBT709, emitted, exposed_by, gamut_matrix, to_bt709

BT2020, P3 = 9, 12
# ITU-R BT.2087-0: linear BT.709 to linear BT.2020
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
# Linear BT.709 to linear Display P3, both with D65: from the primaries' chromaticities
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9105]])
UNTAGGED = 2


def portrait() -> np.ndarray:
    """A bright and a dark half, skin, cloth and one white spot, uint8 [48, 96, 3]: as much light as pictures have."""
    image = np.repeat(np.linspace(40, 200, 96), 48 * 3).reshape(96, 48, 3).transpose(1, 0, 2)
    image = image * np.array([1.0, 0.88, 0.8])
    image[4:20, 8:40] = (214, 164, 140)
    image[26:44, 50:90] = (60, 90, 170)
    image[30:40, 8:40] = 255
    return image.astype(np.uint8)


def hlg(light: np.ndarray) -> np.ndarray:
    """Light, 1 at 1000 cd/m2, to HLG's code values: BT.2100-2, table 5, with the display's gamma on each channel."""
    scene = np.clip(light, 0, 1) ** (1 / 1.2)
    curved = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), curved)


def pq(nits: np.ndarray) -> np.ndarray:
    """Light in cd/m2 to PQ's code values: BT.2100-2, table 4."""
    powered = np.clip(nits / 10_000, 0, 1) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * powered) / (1 + 18.6875 * powered)) ** 78.84375


def coded(image: np.ndarray, space: ColourSpace) -> np.ndarray:
    """Plain video's colours uint8 as code values, 0 to 1, of a space; white is `space.white` cd/m2."""
    linear = (image / 255.0) ** 2.4
    wide = linear @ {BT2020: TO_2020, P3: TO_P3, 1: np.eye(3)}[space.primaries].T
    if space.transfer == HLG:
        return hlg(wide * space.white / 1000)
    return pq(wide * space.white) if space.transfer == PQ else np.clip(wide, 0, 1) ** (1 / 2.4)


def make_hdr(
    path: Path, space: ColourSpace, *, pixel_format: str = "yuv420p10le", codec: str = "ffv1", full: bool = False
) -> Path:
    """Three frames of `portrait` in a space."""
    frames = [np.rint(coded(portrait(), space) * 65535).astype(np.uint16)] * 3
    matrix = 9 if space.primaries == BT2020 else 1
    ranges = {"dst_color_range": "JPEG" if full else "MPEG", "src_color_range": "JPEG"}
    tags = {"color_trc": space.transfer, "color_primaries": space.primaries, "colorspace": matrix}
    if pixel_format.startswith("gbr"):
        ranges, tags = {}, {**tags, "colorspace": 0}
    scaling: dict[str, Any] = {"dst_colorspace": matrix, **ranges} if ranges else {}
    return make_video(
        path,
        frames,
        codec=codec,
        pixel_format=pixel_format,
        layout="rgb48le",
        tags={**tags, "color_range": 2 if full else 1},
        scaling=scaling,
    )


def error(frame: np.ndarray) -> float:
    """The mean difference to `portrait`."""
    return float(np.abs(frame.astype(float) - portrait()).mean())


@pytest.mark.parametrize(
    ("space", "more"),
    [
        (ColourSpace(HLG, BT2020, 1000), {}),
        (ColourSpace(HLG, BT2020, 1000), {"pixel_format": "yuv422p10le"}),
        (ColourSpace(HLG, BT2020, 1000), {"full": True}),
        (ColourSpace(HLG, 1, 1000), {}),
        (ColourSpace(PQ, BT2020, 100), {}),
        (ColourSpace(PQ, BT2020, 203), {"pixel_format": "yuv444p12le"}),
        (ColourSpace(PQ, BT2020, 1000), {}),
        (ColourSpace(PQ, P3, 1000), {"pixel_format": "gbrp10le"}),
        (ColourSpace(14, BT2020), {}),
        (ColourSpace(1, P3), {"pixel_format": "yuv444p"}),
    ],
    ids=[
        "hlg",
        "hlg 4:2:2",
        "hlg full",
        "hlg bt709",
        "pq 100",
        "pq 203",
        "pq 1000",
        "pq p3 rgb",
        "sdr bt2020",
        "sdr p3",
    ],
)
def test_graded_video_becomes_what_it_was_made_from(tmp_path: Path, space: ColourSpace, more: dict[str, Any]) -> None:
    clip = open_clip(make_hdr(tmp_path / "a.mkv", space, **more))
    frames = list(clip)
    assert len(frames) == 3 and all(frame.dtype == np.uint8 for frame in frames)
    assert np.abs(frames[0].mean((0, 1)) - portrait().mean((0, 1))).max() < 2
    assert error(frames[0]) < 4 and np.array_equal(frames[0], frames[2])
    assert np.array_equal(next(iter(clip)), frames[0])  # a second pass is exposed alike


def test_a_phone_s_video_stands_upright_and_is_mapped(tmp_path: Path) -> None:
    path = make_hdr(tmp_path / "a.mov", ColourSpace(HLG, BT2020, 1000), codec="libx265")
    set_matrix(path, 0, 1, -1, 0)  # a quarter turn clockwise
    clip = open_clip(path)
    assert (clip.info.width, clip.info.height, clip.info.rotation) == (48, 96, 90)
    assert error(np.rot90(next(iter(clip)), 1)) < 6


def test_plain_video_is_left_as_it_is(tmp_path: Path) -> None:
    tags = {"color_trc": 1, "color_primaries": 1, "colorspace": 1, "color_range": 1}
    scaling = {"dst_colorspace": 1, "dst_color_range": "MPEG", "src_color_range": "JPEG"}
    path = make_video(
        tmp_path / "a.mkv", [portrait()], codec="ffv1", pixel_format="yuv444p", tags=tags, scaling=scaling
    )
    clip = open_clip(path)
    assert error(next(iter(clip))) < 1.5
    for primaries in (5, 6, UNTAGGED):  # television's of old, and no word
        tags["color_primaries"] = primaries
        make_video(path, [portrait()], codec="ffv1", pixel_format="yuv444p", tags=tags, scaling=scaling)
        assert error(next(iter(open_clip(path)))) < 1.5


def test_an_ordinary_scene_with_highlights_keeps_its_middle_bright() -> None:
    """A face at 60 cd/m2, paper at 203 and a lamp at 1000, as phones record them: none of them dark, none lost."""
    nits = np.full((50, 50, 3), 40.0)
    nits[10:30, 10:30], nits[30:40, 10:20], nits[2:5, 2:5] = 60.0, 203.0, 1000.0
    space = exposed_by(ColourSpace(PQ, BT2020), [pq(nits)])
    assert space.white < 500 and space.peak == 1000
    face, paper, lamp = to_bt709(pq(np.array([[60.0] * 3, [203.0] * 3, [1000.0] * 3])), space)[:, 1] * 255
    assert 100 < face < paper < 254 and lamp == pytest.approx(255, abs=0.5) and paper > 180


def test_code_values_are_the_standards_light() -> None:
    """BT.2100's anchors: PQ's ends, HLG's knee and peak; BT.2408's white paper."""
    assert emitted(np.array([0.0, 0.508, 1.0]), ColourSpace(PQ, BT2020)) == pytest.approx([0, 100, 10_000], rel=0.01)
    assert emitted(np.array([0.581]), ColourSpace(PQ, BT2020)) == pytest.approx([203], rel=0.01)
    assert emitted(np.array([0.0, 0.75, 1.0]), ColourSpace(HLG, BT2020)) == pytest.approx([0, 203, 1000], rel=0.01)


def test_gamuts() -> None:
    assert np.linalg.inv(gamut_matrix(BT2020)) == pytest.approx(TO_2020, abs=2e-4)
    assert np.linalg.inv(gamut_matrix(P3)) == pytest.approx(TO_P3, abs=2e-4)
    for primaries in (1, BT2020, 11, P3):
        assert gamut_matrix(primaries).sum(1) == pytest.approx(np.ones(3), abs=1e-4)  # white stays white


@pytest.mark.parametrize("space", [ColourSpace(HLG, BT2020, 300, 1000), ColourSpace(PQ, BT2020, 203, 4000)])
def test_the_mapping_is_monotone_within_range_and_the_cube_follows_it(space: ColourSpace) -> None:
    greys = np.repeat(np.linspace(0, 1, 400)[:, None], 3, axis=1)
    mapped = to_bt709(greys, space)
    assert (np.diff(mapped[:, 0]) >= -1e-9).all() and mapped.min() >= 0 and mapped.max() <= 1
    assert np.ptp(mapped, axis=1).max() < 1e-3  # greys stay grey
    wild = np.random.default_rng(0).random((400, 3))
    assert np.isfinite(to_bt709(wild, space)).all() and to_bt709(wild, space).min() >= 0
    codes = np.clip(coded(np.random.default_rng(1).integers(10, 250, (40, 60, 3)), space), 0, 1)
    pixels = np.rint(codes * 65535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
    looked_up = ToBT709(space, 60, 40)(frame).astype(float)
    assert np.abs(looked_up - 255 * to_bt709(pixels / 65535, space)).mean() < 1


def test_tags_of_the_stream_serve_where_frames_show_none(tmp_path: Path) -> None:
    """Older versions of PyAV show no transfer on frames, and the container's own tags come through the stream."""
    path = make_hdr(tmp_path / "a.mkv", ColourSpace(PQ, BT2020, 203))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (int(context.color_trc), int(context.color_primaries)) == (PQ, BT2020)
