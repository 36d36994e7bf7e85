from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.avatars.camera import HeadMotion
from mien.avatars.cast import load_member, remove_mark
from mien.avatars.head_model import HeadModel
from mien.avatars.pack import load_pack
from mien.errors import InputError
from mien.jobs.avatars import CastOptions, install_head_model, make_cast, pack_cast
from mien.jobs.look import look
from mien.jobs.progress import Silent
from mien.media import read_image, write_image


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = shared / "data/portraits/052.jpg"
    if not source.is_file():
        pytest.skip("needs ../shared/data/portraits")
    folder = tmp_path_factory.mktemp("photos")
    write_image(folder / "good.png", read_image(source))
    write_image(folder / "blank.png", np.full((96, 96, 3), 80, np.uint8))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "empty.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def cast(photos: Path, pack: Path, detector_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cast")
    outcome = make_cast(CastOptions(photos, folder, pack, detector_model), Silent())
    assert outcome.done == ["good"]
    assert set(outcome.failed) == {"blank", "broken", "empty"}
    assert "no face found" in outcome.failed["blank"]
    return folder


def test_bad_photographs_cost_only_themselves(
    cast: Path, photos: Path, pack: Path, detector_model: Path, tmp_path: Path
) -> None:
    again = make_cast(CastOptions(photos, cast, pack, detector_model), Silent())
    assert again.kept == ["good"] and not again.done and set(again.failed) == {"blank", "broken", "empty"}
    assert again.summary("avatars") == "0 avatars made, 1 were there already, 3 left out"
    text = look(cast, tmp_path)[-1].read_text()
    assert "1 avatars, 3 photographs left out." in text


def test_an_avatar_answers_to_commands(cast: Path) -> None:
    member = load_member(cast / "good.safetensors")
    answers = member.details["responses"]
    assert answers["blink"] >= 0.4 and answers["jaw"] >= 0.4 and 9 < answers["turn"] < 15
    assert member.details["fit_error_median"] <= 1.2


def test_a_packed_cast_renders_as_its_files_do(cast: Path, pack: Path, model: HeadModel, tmp_path: Path) -> None:
    packed = pack_cast(cast, tmp_path / "cast.safetensors", None, pack, 256)
    assert packed.stat().st_size < 24e6, "the head model, and some kilobytes a person"
    loaded = load_pack(packed)
    assert [member.id for member in loaded.people] == ["good"]
    assert loaded.model.names == model.names
    views = []
    for head, member in ((model, load_member(cast / "good.safetensors")), (loaded.model, loaded.people[0])):
        views.append(member.avatar(head, 512).render(head.coefficients(jawOpen=0.3), HeadMotion(yaw=8), 128))
    assert views[0].landmarks == pytest.approx(views[1].landmarks, abs=0.5)
    assert np.abs(views[0].image.astype(int) - views[1].image).mean() < 3


def test_a_file_that_is_no_avatar_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"12345678 nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_member(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        load_pack(tmp_path / "x.safetensors")


def test_the_mark_goes_and_the_rest_stays() -> None:
    image = np.full((256, 256, 3), 90, np.uint8)
    image[240:250, 195:250] = 255
    mended = remove_mark(image)
    assert np.abs(mended.astype(int) - 90).max() <= 5
    assert np.array_equal(mended[:235], image[:235])


def test_the_head_model_is_installed_from_a_pack(pack: Path, tmp_path: Path) -> None:
    target = install_head_model(pack, tmp_path / "deep/head.npz")
    assert target.read_bytes() == pack.read_bytes()
    with pytest.raises(InputError, match="does not exist"):
        install_head_model(tmp_path / "none")
