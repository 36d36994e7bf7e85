from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation_samples import SIDE, make_benchmark
from mien.errors import InputError
from mien.evaluation.benchmark import Benchmark, Medium, Pair, read_benchmark, self_pair, write_benchmark
from mien.evaluation.build_heads import build_heads
from mien.evaluation.build_options import BuildOptions
from mien.evaluation.build_real import build_real
from mien.evaluation.footage import load_footage, load_frames
from mien.media import write_image, write_video


def test_what_is_written_is_read(tmp_path: Path) -> None:
    portrait, clip = Medium(tmp_path / "p.png"), Medium(tmp_path / "c.mp4", 3, 8, 2, crop=(1.0, 2.0, 40.0))
    pairs = (
        self_pair("s", clip, Fraction(30000, 1001)),
        Pair("c", "cross", portrait, clip, ground_truth=Medium(tmp_path / "t.npy", row=4), tags=("rendered",)),
        Pair("d", "disentangled", portrait, clip, Medium(tmp_path / "e.mp4")),
    )
    made = Benchmark("mine", 512, pairs)
    path = write_benchmark(tmp_path / "bench.json", made)
    assert read_benchmark(path) == made
    assert json.loads(path.read_text())["pairs"][0]["driver"]["path"] == "c.mp4", "relative to the file"


def test_the_old_word_for_the_ground_truth_is_still_read(tmp_path: Path) -> None:
    pair = Pair(
        "c", "cross", Medium(tmp_path / "p.png"), Medium(tmp_path / "c.mp4"), ground_truth=Medium(tmp_path / "t")
    )
    path = write_benchmark(tmp_path / "bench.json", Benchmark("mine", 64, (pair,)))
    text = path.read_text()
    assert '"ground_truth"' in text
    path.write_text(text.replace('"ground_truth"', '"truth"'))
    assert read_benchmark(path).pairs == (pair,)
    twice = json.loads(text)
    twice["pairs"][0]["truth"] = DRIVER
    path.write_text(json.dumps(twice))
    with pytest.raises(InputError, match="nothing but"):
        read_benchmark(path)


DRIVER = {"path": "a.mp4"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "mien-benchmark/1"),
        ({"pairs": []}, "no pairs"),
        ({"side": 250}, "multiple of 8"),
        ({"pairs": [{"id": "a", "protocol": "self"}]}, "id, protocol and driver"),
        ({"pairs": [{"id": "../a", "protocol": "self", "driver": DRIVER}]}, "file name"),
        ({"pairs": [{"id": "a", "protocol": "other", "driver": DRIVER}]}, "one of self"),
        ({"pairs": [{"id": "a", "protocol": "cross", "driver": DRIVER}]}, "no source"),
        ({"pairs": [{"id": "a", "protocol": "disentangled", "driver": DRIVER, "source": DRIVER}]}, "expression clip"),
        ({"pairs": [{"id": "a", "protocol": "self", "driver": {"path": "a.mp4", "frames": 0}}]}, "from 1 up"),
        ({"pairs": [{"id": "a", "protocol": "self", "driver": {"path": "a.mp4", "crop": [1, 2]}}]}, "crop"),
        ({"pairs": [{"id": "a", "protocol": "self", "driver": {"file": "a.mp4"}}]}, "with a path"),
        ({"pairs": [{"id": "a", "protocol": "self", "driver": DRIVER, "rate": "0"}]}, "rate"),
        ({"pairs": [{"id": "a", "protocol": "self", "driver": DRIVER}] * 2}, "two pairs"),
    ],
)
def test_errors_name_the_file_and_the_fix(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "bench.json"
    good = {"format": "mien-benchmark/1", "pairs": [{"id": "a", "protocol": "self", "driver": DRIVER}]}
    path.write_text(json.dumps({**good, **change}))
    with pytest.raises(InputError, match=says) as caught:
        read_benchmark(path)
    assert str(path) in str(caught.value)


def test_footage_of_a_self_pair(tmp_path: Path) -> None:
    pair = read_benchmark(make_benchmark(tmp_path)).pairs[0]
    footage = load_footage(pair, 32)
    assert footage.case.driver.shape == (4, 32, 32, 3) and footage.first == 1
    assert (footage.case.source == footage.case.driver[0]).all()
    assert footage.ground_truth is footage.case.driver and footage.case.expression is footage.case.driver


def test_a_disentangled_pair_is_as_long_as_its_shorter_clip(tmp_path: Path) -> None:
    pairs = {pair.id: pair for pair in read_benchmark(make_benchmark(tmp_path)).pairs}
    apart = pairs["apart-ab"]
    longer = Pair("x", "disentangled", apart.source, apart.driver, Medium(tmp_path / "long.mp4"))
    case = load_footage(longer, SIDE).case
    assert len(case.driver) == len(case.expression) == 4


def test_frames_are_chosen_and_cropped(tmp_path: Path) -> None:
    frames = [np.full((20, 30, 3), 10 * i, np.uint8) for i in range(8)]
    for index, frame in enumerate(frames):
        frame[:, 25:] = 255
        write_image(tmp_path / "clip" / f"{index}.png", frame)
    middle = load_frames(Medium(tmp_path / "clip", 1, 3, 2), 16)
    assert [int(frame.mean()) for frame in middle] == [10, 30, 50], "the white edge is outside the middle square"
    right = load_frames(Medium(tmp_path / "clip", crop=(26.0, 4.0, 4.0)), 16)
    assert right.shape == (8, 16, 16, 3) and right.min() == 255
    with pytest.raises(InputError, match="only 4 of the 5 frames"):
        load_frames(Medium(tmp_path / "clip", 0, 5, 2), 16)


def test_rendered_people_are_read_from_arrays(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 255, (3, 6, 16, 16, 3), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", stored)
    np.save(tmp_path / "sources.npy", stored[:, 0])
    assert (load_frames(Medium(tmp_path / "frames.npy", 2, 2, 2, 1), 16) == stored[1, [2, 4]]).all()
    assert (load_frames(Medium(tmp_path / "sources.npy", row=2), 16) == stored[2, :1]).all()
    with pytest.raises(InputError, match="row 9"):
        load_frames(Medium(tmp_path / "frames.npy", row=9), 16)


def test_the_digest_follows_every_pixel(tmp_path: Path) -> None:
    pair = read_benchmark(make_benchmark(tmp_path)).pairs[1]
    before = load_footage(pair, SIDE).digest
    assert load_footage(pair, SIDE).digest == before
    image = load_frames(pair.driver, SIDE)[2]
    image[0, 0, 0] ^= 1
    write_image(tmp_path / "a" / "2.png", image)
    assert load_footage(pair, SIDE).digest != before


def _heads(folder: Path, validation: bool = True) -> Path:
    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 16, 16, 3), dtype=np.uint8)
    np.save(folder / "group_007_frames.npy", frames)
    np.save(folder / "group_007_sources.npy", frames[:, 0])
    np.savez(folder / "group_007_meta.npz", clips=[[32, 48], [48, 64]], visible=[True, False, True])
    (folder / "group_007_people.json").write_text(json.dumps({"validation": validation}))
    return folder


def test_heads_give_an_exact_ground_truth(tmp_path: Path) -> None:
    made = build_heads(_heads(tmp_path), BuildOptions(pairs=2, frames=16, side=64))
    assert [pair.protocol for pair in made.pairs] == ["self", "self", "cross", "cross", "disentangled", "disentangled"]
    for pair in made.pairs[2:4]:
        assert pair.ground_truth is not None
        assert {pair.driver.row, pair.ground_truth.row} == {0, 2}, "who is not seen wholly does not take part"
        assert pair.source.row == pair.ground_truth.row
        assert pair.driver.first == pair.ground_truth.first == pair.source.first
    footage = load_footage(made.pairs[2], 64)
    assert footage.ground_truth is not None and len(footage.ground_truth) == 16
    assert (footage.ground_truth[0] == footage.case.source).all() and footage.first == 1, "what was given is not scored"
    apart = made.pairs[4]
    assert apart.expression is not None and apart.expression.first != apart.driver.first
    assert build_heads(tmp_path, BuildOptions(pairs=2)) == build_heads(tmp_path, BuildOptions(pairs=2))


def test_heads_that_were_trained_on_are_left_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--every-group"):
        build_heads(_heads(tmp_path, validation=False), BuildOptions())
    assert build_heads(tmp_path, BuildOptions(pairs=1), every_group=True).pairs


def _real_people(folder: Path) -> Path:
    """A folder as `build real` takes it: 13 portraits and 9 clips, of which one shows the man of one portrait."""
    names = [f"p{number:02d}" for number in range(12)] + ["p14_photo_man_open_mouth"]
    clips = [f"d{number:02d}" for number in range(8)] + ["d08_man_grey_hoodie"]
    index = {
        "portraits": [{"id": name, "file": f"portraits/{name}.jpg"} for name in names],
        "driving": [{"id": name, "file": f"driving/{name}.mp4", "frames": 78, "fps": 25.0} for name in clips],
    }
    for entry in index["portraits"] + index["driving"]:
        path = folder / "real" / str(entry["file"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (folder / "real" / "index.json").write_text(json.dumps(index))
    return folder


def test_real_people_nobody_trained_on(tmp_path: Path) -> None:
    data = _real_people(tmp_path)
    made = build_real(data, BuildOptions(pairs=26, frames=40))
    again = build_real(data, BuildOptions(pairs=26, frames=40))
    assert made == again and len({pair.id for pair in made.pairs}) == len(made.pairs)
    counts = Counter(pair.protocol for pair in made.pairs)
    assert counts == {"self": 9, "cross": 26, "disentangled": 26}, "a clip drives itself once"
    assert all(pair.driver.path.parent == data / "real" / "driving" for pair in made.pairs)
    assert all(pair.source.path.exists() and pair.driver.path.exists() for pair in made.pairs)
    crossed = [pair for pair in made.pairs if pair.protocol == "cross"]
    assert set(Counter(pair.source.path for pair in crossed).values()) == {2}, "every portrait as often"
    same_man = {("p14_photo_man_open_mouth.jpg", "d08_man_grey_hoodie.mp4")}
    assert not same_man & {(p.source.path.name, p.driver.path.name) for p in made.pairs}
    only = build_real(data, BuildOptions(pairs=2, frames=8, protocols=("cross",)))
    assert [pair.protocol for pair in only.pairs] == ["cross"] * 2


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="index.json"):
        build_real(tmp_path, BuildOptions())
    write_video(tmp_path / "unused.mp4", [np.zeros((16, 16, 3), np.uint8)] * 2, 25)
    with pytest.raises(InputError, match="--frames is 1, but it must be a whole number from 2 up"):
        BuildOptions(frames=1)
