from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.avatars.group_files import GroupFolder, RenderedGroup
from mien.avatars.groups import Role, make_plan, perform, render_group
from mien.avatars.head_model import HeadModel
from mien.avatars.pack import PackedCast
from mien.avatars.people import RandomPerson
from mien.avatars.performances import Performance, make_performance
from mien.avatars.styles import Style
from mien.errors import InputError
from mien.geometry import HeadPose
from mien.jobs.data.avatars import render_dataset, render_driver
from mien.jobs.data.look import look
from mien.jobs.data.options import DriverOptions, GroupOptions, ReportOptions
from mien.jobs.run.progress import Silent
from mien.media import open_clip
from mien.training.data.avatar_groups import AvatarClips
from mien.training.data.rendered_people import RenderedPeople
from mien.training.data.samples import SampleSpec, SourceDrivingSample
from mien.training.dex_portrait import encoder_data
from mien.training.x_portrait.collate import BatchSpec, draw_batch


def roles(count: int) -> list[Role]:
    return [Role(f"p{i:02d}", seed=i, look_alike=f"g{i // 3}" if i < 9 else None) for i in range(count)]


def test_look_alikes_never_straddle_the_split() -> None:
    plans = make_plan(roles(30), 6, 1, seed=3)
    everyone = [role.id for plan in plans for role in plan.roles]
    assert sorted(everyone) == sorted(role.id for role in roles(30)), "everyone is in exactly one group"
    side: dict[str, set[bool]] = {}
    for plan in plans:
        for role in plan.roles:
            side.setdefault(role.look_alike or role.id, set()).add(plan.validation)
    assert all(len(values) == 1 for values in side.values())
    assert [plan.validation for plan in plans] == [False] * (len(plans) - 1) + [True]
    assert make_plan(list(reversed(roles(30))), 6, 1, seed=3) == plans, "the order of the people does not matter"


def test_people_who_are_held_out_go_to_validation_and_the_others_stay() -> None:
    plans = make_plan(roles(30), 6, 1, seed=3)
    held = {role.id: plan.validation for plan in plans for role in plan.roles}
    training = sorted(name for name, validation in held.items() if not validation)
    stays, goes = next(name for name in held if held[name]), next(name for name in training if name > "p09")
    assert make_plan(roles(30), 6, 1, seed=3, held_out=[stays]) == plans, "who is held out anyway changes nothing"
    others = make_plan(roles(30), 6, 1, seed=3, held_out=[goes, "p00"])
    now = {role.id: plan.validation for plan in others for role in plan.roles}
    assert sorted(now) == sorted(held)
    assert {name for name in now if now[name] and not held[name]} == {goes, "p00", "p01", "p02"} - set(
        name for name in held if held[name]
    ), "with who looks like them"


class Notes(Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_who_is_to_be_held_out_and_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "ann.safetensors").write_bytes(b"")
    asked = GroupOptions(tmp_path / "out", 3, tmp_path, head=tmp_path / "none", held_out=("ann", "bob"))
    progress = Notes()
    with pytest.raises(InputError, match="none"):  # the head model is looked for next
        render_dataset(asked, progress)
    assert progress.notes == ["--hold-out bob: the cast has nobody of that name, so nobody is held out"]
    with pytest.raises(InputError, match="--validation-groups from 1"):
        render_dataset(replace(asked, validation_groups=0), Silent())


@pytest.fixture(scope="module")
def dataset(model: HeadModel, pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    options = GroupOptions(folder, people=3, head=pack, per_group=2, styled=1.0, seed=11, workers=1)
    outcome = render_dataset(options, Silent())
    assert outcome.done == ["group_000", "group_001"] and not outcome.failed
    return folder


def test_training_reads_the_groups(dataset: Path) -> None:
    drawn = draw_batch(AvatarClips(dataset, hold_out=1), np.random.default_rng(0), BatchSpec(2, 2, 128, patches=True))
    assert drawn.source.shape == (2, 3, 128, 128) and drawn.target.shape == (4, 3, 128, 128)
    with np.load(dataset / "group_000_meta.npz") as meta:
        people = len(np.load(dataset / "group_000_frames.npy", mmap_mode="r"))
        assert meta["landmarks"].shape == (people, 64, 68, 2) and meta["head_pose"].shape == (people, 64, 6)
        assert meta["visible"].all() and not meta["validation"]
        turned = HeadPose.from_euler(*(float(angle) for angle in meta["pose"][5]))
        assert meta["rotation"][5] == pytest.approx(turned.matrix(), abs=1e-5)
        assert meta["head_pose"][0, 5, :3] == pytest.approx(turned.rotation, abs=1e-5)
    with np.load(dataset / "group_001_meta.npz") as meta:
        assert meta["validation"]


def test_a_dataset_can_be_looked_at(dataset: Path, tmp_path: Path) -> None:
    written = look(ReportOptions(dataset, tmp_path), Silent())
    assert [path.name for path in written] == ["group_000.jpg", "group_001.jpg", "statistics.md"]
    text = written[-1].read_text()
    assert "2 groups (1 for validation), 3 people, 192 frames." in text and "| jawOpen |" in text


def test_people_who_fail_are_named(model: HeadModel, tmp_path: Path) -> None:
    (plan,) = make_plan([Role("good", seed=1), Role("bad", file=tmp_path / "bad.safetensors")], 5, 0, seed=0)
    summary = render_group(model, plan, [], tmp_path)
    assert [person["id"] for person in summary["people"]] == ["good"]
    assert summary["rejected"][0]["id"] == "bad" and "does not exist" in summary["rejected"][0]["reason"]
    assert json.loads((tmp_path / "group_000_people.json").read_text()) == summary


def test_a_style_leaves_the_ground_truth_alone(model: HeadModel) -> None:
    person, whole = RandomPerson(model, 5), make_performance(model, np.random.default_rng(0), [])
    few = type(whole)(whole.angles[:2], whole.place[:2], whole.expression[:2], whole.kind[:2])
    plain, drawn = (perform(model, person, few, style, 64) for style in (Style(), Style("pencil", 0.8)))
    assert not np.array_equal(plain.frames, drawn.frames)
    for name in ("landmarks", "depths", "origins", "poses", "neutral"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(drawn, name))


def test_the_stream_repeats_and_agrees_with_itself(model: HeadModel) -> None:
    spec, cast = SampleSpec(2, clip=True, side=64, drivers=True, views=True), PackedCast(model, (), ())

    def drawn(seed: int, step: int = 0) -> SourceDrivingSample:
        people = RenderedPeople(cast, 4, people=3)
        people.at_step(step)
        return people.sample(np.random.default_rng(seed), spec)

    first, second = drawn(1), drawn(1)
    assert first.drivers is not None and first.views is not None and second.drivers is not None
    for one, two in zip(
        (first.source, *first.targets, *first.drivers), (second.source, *second.targets, *second.drivers), strict=True
    ):
        assert np.array_equal(one.picture, two.picture) and np.array_equal(one.landmarks, two.landmarks)
    assert not np.array_equal(first.targets[0].picture, drawn(2).targets[0].picture)
    assert not np.array_equal(first.source.picture, drawn(1, 64).source.picture), "by then other people are at hand"
    assert first.source.picture.shape == (64, 64, 3) and len(first.targets) == len(first.views) == 2
    for target, driver in zip(first.targets, first.drivers, strict=True):
        assert target.head_pose()[:3] == pytest.approx(driver.head_pose()[:3], abs=1e-5), "one motion for both people"


def test_a_track_becomes_a_driver(pack: Path, tmp_path: Path, model: HeadModel) -> None:
    from mien.avatars.motion import generated_track, save_tracks

    made = generated_track(model, np.random.default_rng(0), 3, 25.0)
    library = save_tracks(tmp_path / "m.safetensors", [made], model.names)
    options = DriverOptions("generated", tmp_path / "driver.mp4", library, pack, size=64)
    clip = open_clip(render_driver(options, Silent()))
    assert clip.count() == 3 and clip.info.rate == 25 and clip.info.width == 64
    with pytest.raises(InputError, match="it holds generated"):
        render_driver(DriverOptions("other", tmp_path / "x.mp4", library, pack), Silent())
    with pytest.raises(InputError, match="there is no track dance"):
        render_driver(DriverOptions("dance", tmp_path / "x.mp4", None, pack), Silent())
    assert not (tmp_path / "x.mp4").exists()


def test_paired_expressions_come_under_another_pose(model: HeadModel) -> None:
    plain = make_performance(model, np.random.default_rng(3), [])
    paired = make_performance(model, np.random.default_rng(3), [], paired=True)
    assert np.array_equal(paired.expression[16:32], paired.expression[:16])
    assert not np.array_equal(plain.expression[16:32], plain.expression[:16])
    assert np.array_equal(paired.angles[:48], plain.angles[:48])
    assert np.array_equal(paired.expression[32:], plain.expression[32:])
    assert paired.kind[16] == "paired:0" and paired.kind[31] == "paired:15" and len(paired.kind) == len(paired)
    assert np.array_equal(paired.angles[48:], paired.angles[32:48])
    assert np.array_equal(paired.place[48:], paired.place[32:48])
    assert not np.array_equal(paired.expression[48:], paired.expression[32:48])


def test_displacements_for_the_encoders_are_those_of_the_expression_alone(model: HeadModel, tmp_path: Path) -> None:
    (plan,) = make_plan([Role("p0", seed=4)], 5, 0, seed=2, paired=True)
    render_group(model, plan, [], tmp_path)
    made = encoder_data.EncoderData([tmp_path])
    group = made.groups[0]
    assert list(group.other[:3]) == [16, 17, 18] and group.other[40] == -1
    assert list(group.twin[32:35]) == [48, 49, 50] and group.twin[0] == -1
    moved = group.moved
    same = np.abs(moved[:, :16] - moved[:, 16:32]).mean()
    other = np.abs(moved[:, :16] - np.roll(moved[:, :16], 1, 1)).mean()
    assert same < 0.05 * other, "an expression moves the keypoints alike under every pose"
    batch = made.draw(np.random.default_rng(0), 2, 32, encoder_data.EncoderAugmentation())
    assert batch["masked"].shape == batch["again"].shape == (2, 3, 32, 32)
    assert batch["moved"].shape == (2, 70, 3) and batch["pose"].shape == (2, 6)


# -- without expression, distinct expressions, the tongue
# ---------------------------------------------------------------


def test_neutral_is_where_the_face_would_be_without_expression(model: HeadModel) -> None:
    calm, expressed = model.coefficients(), model.coefficients(jawOpen=0.9)
    angles, place = np.tile([10, -5, 4], (2, 1)).astype(np.float32), np.tile([0, 0, 1], (2, 1)).astype(np.float32)
    both = Performance(angles, place, np.stack([calm, expressed]).astype(np.float32), ("calm", "open"))
    acted = perform(model, RandomPerson(model, 5), both, Style(), 64)
    assert acted.neutral.shape == (2, 70, 2)
    own = np.concatenate([acted.landmarks, acted.pupils[..., :2]], 1)
    np.testing.assert_allclose(acted.neutral[0], own[0], atol=1e-3)
    np.testing.assert_allclose(acted.neutral[1], acted.neutral[0], atol=1e-3)
    far = np.abs(acted.neutral[1] - own[1]).max(1)
    assert far[8] > 1 and far[27] < 0.1, "the chin has moved, the bridge of the nose has not"


def test_distinct_performances_close_one_eye_alone_often_enough(model: HeadModel) -> None:
    def one_eyed(distinct: float) -> float:
        performances = [
            make_performance(model, np.random.default_rng(seed), [], distinct=distinct) for seed in range(8)
        ]
        shown = np.concatenate([performance.expression for performance in performances])
        left, right = (shown[:, model.index(f"eyeBlink_{side}")] for side in "LR")
        return float(((np.maximum(left, right) > 0.7) & (np.minimum(left, right) < 0.3)).mean())

    assert one_eyed(0.9) > 0.08 > 2 * one_eyed(0.0)
    shown = make_performance(model, np.random.default_rng(0), [], distinct=0.9)
    assert shown.expression.shape == (64, 57) and shown.expression.min() >= 0 and shown.expression.max() <= 1


def test_both_schemas_and_groups_of_photographs_are_read(dataset: Path, tmp_path: Path) -> None:
    new = RenderedGroup(dataset, "group_000")
    assert (int(new["schema"]), new["neutral"].shape, new.side, new.complete) == (5, (new.people, 64, 70, 2), 256, True)
    assert new.keypoints(0).shape == (64, 70, 2)
    np.save(tmp_path / "group_003_frames.npy", np.zeros((1, 2, 32, 32, 3), np.uint8))
    old = {"landmarks": np.zeros((1, 2, 68, 2), np.float32), "schema": np.array(4), "validation": np.array(True)}
    np.savez(tmp_path / "group_003_meta.npz", **old)
    assert GroupFolder(tmp_path).groups == []
    (group,) = GroupFolder(tmp_path, only_held_out=True).groups
    assert (group.number, group.people, group.motions, group.side, group.complete) == (3, 1, 2, 32, False)
    assert GroupFolder(tmp_path, only_held_out=True, complete=True).groups == []
    with pytest.raises(InputError, match="before neutral were recorded"):
        _ = group["neutral"]
    np.savez(tmp_path / "group_003_meta.npz", **{**old, "schema": np.array(6)})
    with pytest.raises(InputError, match="newer version"):
        RenderedGroup(tmp_path, "group_003")
    (tmp_path / "group_003_frames.npy").write_bytes(b"half")
    with pytest.raises(InputError, match="is not whole"):
        RenderedGroup(tmp_path, "group_003")
