"""The bundled models on the bundled demo: the first command of the README, on a few frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.faces import load_face_reader
from mien.jobs.animate import animate
from mien.jobs.demo import demo_options
from mien.jobs.options import AnimateOptions
from mien.media import open_clip, read_image, write_image
from mien.weights import bundled

DEMO = Path(bundled("nano")).parents[1] / "demo"


def test_nano_moves_the_demo_portrait(tmp_path: Path) -> None:
    frames = list(open_clip(DEMO / "driver.mp4"))
    folder = tmp_path / "driver"
    folder.mkdir()
    for index in (0, 20, 40):
        write_image(folder / f"{index:03}.png", frames[index])
    portrait = DEMO / "portrait_1.png"
    options = AnimateOptions(portraits=(portrait,), driver=folder, output=tmp_path / "out.mp4", device="cpu")
    report = animate(options)
    assert report.frames == 3
    made = [frame.astype(float) for frame in open_clip(tmp_path / "out.mp4")]
    still = read_image(portrait).astype(float)
    assert all(frame.shape == still.shape for frame in made)
    height, width = still.shape[:2]
    corner = np.s_[: height // 20, : width // 20]
    face = np.s_[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
    for frame in made:
        assert np.abs(frame[corner] - still[corner]).mean() < 12
        assert np.abs(frame[face] - still[face]).mean() > 3
    assert np.abs(made[0][face] - made[1][face]).mean() > 1
    reader = load_face_reader()
    assert all(reader.read(frame.astype(np.uint8)) is not None for frame in made)


def test_bundled_weights_stay_small() -> None:
    folder = bundled("nano").parent
    assert sum(path.stat().st_size for path in folder.rglob("*.safetensors")) <= 60e6
    for model in ("x_portrait_nano", "dex_portrait_nano", "face_networks"):
        assert (folder / model / "README.md").is_file()


def test_the_demo_of_two_videos_takes_pose_and_expression_apart(tmp_path: Path) -> None:
    options = demo_options(tmp_path, apart=True)
    assert options.model == "dex-nano" and options.output == tmp_path / "apart.mp4"
    assert (options.pose_from, options.expression_from) == (DEMO / "pose.mp4", DEMO / "driver.mp4")
    reader = load_face_reader()
    readings = [reader.read(frame) for frame in list(open_clip(DEMO / "pose.mp4"))[14:33:18]]
    assert all(reading is not None for reading in readings)
    first, second = (reading.pose.yaw for reading in readings if reading is not None)
    assert abs(second - first) > 20, "the head turns"
