from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.avatars.camera import HeadMotion
from mien.avatars.cast import load_member, member_from, member_tensors, remove_mark
from mien.avatars.head_model import HeadModel
from mien.avatars.pack import load_pack
from mien.errors import InputError
from mien.jobs.data.avatars import install_head_model, make_cast, pack_cast
from mien.jobs.data.look import look
from mien.jobs.data.options import CastOptions, PackOptions, ReportOptions
from mien.jobs.run.progress import Silent
from mien.media import read_image, write_image
from samples import RENDERED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    portrait = read_image(RENDERED / "portrait_1.png")
    rng = np.random.default_rng(0)
    write_image(folder / "good.png", portrait[:-1, 4:-3])  # odd sides
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "empty.png").write_bytes(b"")
    write_image(folder / "cut_off.jpg", portrait)
    (folder / "cut_off.jpg").write_bytes((folder / "cut_off.jpg").read_bytes()[:900])
    (folder / "text.jpg").write_text("Dear reader, this is no picture.")
    write_image(folder / "black.png", np.zeros((96, 96, 3), np.uint8))
    write_image(folder / "noise.png", rng.integers(0, 255, (96, 96, 3)).astype(np.uint8))
    write_image(folder / "tiny.png", cv2.resize(portrait, (48, 48), interpolation=cv2.INTER_AREA))
    write_image(folder / "sliver.png", np.full((2, 600, 3), 90, np.uint8))
    write_image(folder / "blurred.png", cv2.GaussianBlur(portrait, (0, 0), 12))
    write_image(folder / "two.png", np.concatenate([portrait, portrait], 1))
    return folder


BAD = {
    "broken": "broken.jpg",
    "empty": "empty",
    "cut_off": "cut_off.jpg",
    "text": "text.jpg",
    "black": "no face found",
    "noise": "no face found",
    "tiny": "pixels high",
    "sliver": "too narrow",
    "blurred": "blurred",
    "two": "2 faces",
}


@pytest.fixture(scope="module")
def cast(photos: Path, pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cast")
    outcome = make_cast(CastOptions(photos, folder, pack), Silent())
    assert outcome.done == ["good"]
    assert set(outcome.failed) == set(BAD)
    for name, reason in BAD.items():
        assert reason in outcome.failed[name], outcome.failed[name]
    return folder


def test_bad_photographs_cost_only_themselves(cast: Path, photos: Path, pack: Path, tmp_path: Path) -> None:
    again = make_cast(CastOptions(photos, cast, pack), Silent())
    assert again.kept == ["good"] and not again.done and set(again.failed) == set(BAD)
    assert again.summary("avatars") == "0 avatars made, 1 were there already, 10 left out"


def test_a_cast_is_reported(cast: Path, pack: Path, tmp_path: Path) -> None:
    written = look(ReportOptions(cast, tmp_path, 1, pack), Silent())
    assert [path.name for path in written] == ["cast.jpg", "cast.json", "statistics.md"]
    page = written[-1].read_text()
    assert "1 avatars, 10 photographs left out." in page and "| 2 | no face found" in page
    found = json.loads(written[1].read_text())
    assert (found["portraits"], found["avatars"], found["left_out"]) == (11, 1, 10)
    assert sum(found["left_out_because"].values()) == 10
    again = found["measured_again"]
    assert 0.8 < again["yaw"]["median"] < 1.2 and again["blink"]["share_0.4"] == 1 and again["jaw_rise"]["median"] > 0.4
    assert again["error"]["median"] < found["error_of_coefficients"]["median"] <= 1.2


def test_a_cast_without_a_head_model_is_counted(cast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HEAD_MODEL", str(tmp_path / "none.npz"))
    written = look(ReportOptions(cast), Silent())
    found = json.loads(written[1].read_text())
    assert found["avatars"] == 1 and not found["measured_again"] and "everyone" in found["unmeasured"]


def test_an_avatar_answers_to_commands(cast: Path) -> None:
    member = load_member(cast / "good.safetensors")
    answers = member.details["responses"]
    assert answers["blink"] >= 0.4 and answers["jaw"] >= 0.4 and 9 < answers["turn"] < 15
    assert member.details["fit_error_median"] <= 1.2


def test_a_packed_cast_renders_as_its_files_do(cast: Path, pack: Path, model: HeadModel, tmp_path: Path) -> None:
    packed = pack_cast(PackOptions(cast, tmp_path / "cast.safetensors", head=pack))
    assert packed.stat().st_size < 24e6, "the head model, and some kilobytes a person"
    loaded = load_pack(packed)
    assert [member.id for member in loaded.people] == ["good"]
    assert loaded.model.names == model.names
    without = pack_cast(PackOptions(cast, tmp_path / "without.safetensors", head=pack, held_out=("good",)))
    assert load_pack(without).people == ()
    views = []
    for head, member in ((model, load_member(cast / "good.safetensors")), (loaded.model, loaded.people[0])):
        views.append(member.avatar(head, 512).render(head.coefficients(jawOpen=0.3), HeadMotion(yaw=8), 128))
    assert views[0].landmarks == pytest.approx(views[1].landmarks, abs=0.5)
    assert np.abs(views[0].image.astype(int) - views[1].image).mean() < 3


def test_the_old_name_of_blendshapes_is_still_read(cast: Path) -> None:
    member = load_member(cast / "good.safetensors")
    tensors = member_tensors(member)
    assert "scores" not in tensors
    tensors["scores"] = tensors.pop("blendshapes")
    old = member_from(member.id, tensors, member.details)
    np.testing.assert_array_equal(old.face.blendshapes, member.face.blendshapes)


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
