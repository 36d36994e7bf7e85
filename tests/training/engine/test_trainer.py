"""The loop: resume, frozen parts, several processes, time, damage, and what it leaves behind."""

from __future__ import annotations

import importlib.machinery
import json
import multiprocessing
import os
import signal
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from launching import launch
from mien.errors import InputError, WeightsError
from mien.training.engine import checkpoints, sharding
from mien.training.engine.config import rate_factor
from mien.training.engine.core_time import core_seconds
from mien.training.engine.outcome import TrainingError
from mien.training.engine.stage import Batch, Stage, part_parameters, trained_names
from mien.training.engine.trainer import train
from toy_stage import Toy, ToyModel, toy_options


def state(run: Path) -> dict[str, torch.Tensor]:
    found = checkpoints.newest(run)
    assert found is not None
    return {**found.weights(), **{f"average.{k}": v for k, v in found.average().items()}}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


class Stopping(Toy):
    """Stops as a time limit or a SIGTERM would, after so many steps of this slice."""

    def __init__(self, after: int, by: signal.Signals = signal.SIGTERM) -> None:
        super().__init__()
        self.left, self.by = after, by

    def after_step(self, model: torch.nn.Module, step: int) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.by)


@pytest.mark.parametrize("average_every", [0, 2])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path, average_every: int) -> None:
    more = {"accumulate": 2, "average_every": average_every}
    whole = train(Toy(), toy_options(tmp_path / "whole", **more))
    first = train(Stopping(3), toy_options(tmp_path / "parts", **more))
    second = train(Toy(), toy_options(tmp_path / "parts", **more))
    assert (whole.step, whole.steps_here, whole.finished) == (6, 6, True)
    assert (first.step, first.finished) == ((3, False) if not average_every else (4, False))
    assert (second.step, second.steps_here, second.finished) == (6, 6 - first.step, True)
    assert same(state(tmp_path / "whole"), state(tmp_path / "parts"))
    a, b = (checkpoints.find(tmp_path / run).optimizer("discriminator")["state"] for run in ("whole", "parts"))
    assert all(torch.equal(a[i][m], b[i][m]) for i in a for m in ("exp_avg", "exp_avg_sq", "step"))


def test_the_first_ctrl_c_saves_and_the_second_leaves_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        whole = train(Toy(), toy_options(tmp_path / "whole"))
        with pytest.raises(KeyboardInterrupt):
            train(Stopping(3, signal.SIGINT), toy_options(tmp_path / "parts"))
        assert "finished and saved" in caplog.text and checkpoints.find(tmp_path / "parts").step == 3
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert train(Toy(), toy_options(tmp_path / "parts")).step == whole.step
        assert same(state(tmp_path / "whole"), state(tmp_path / "parts"))

        def again(self: Stopping, model: torch.nn.Module, step: int) -> None:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(Stopping, "after_step", again)
        with pytest.raises(KeyboardInterrupt):
            train(Stopping(0, signal.SIGINT), toy_options(tmp_path / "twice"))
        assert checkpoints.newest(tmp_path / "twice") is None
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def ten_seconds_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of processor time that only batches move."""
    passed = [0.0]

    def batch(self: Toy, rng: np.random.Generator, batch_size: int) -> Batch:
        passed[0] += 10.0
        return drawn(self, rng, batch_size)

    drawn = Toy.batch
    monkeypatch.setattr(Toy, "batch", batch)
    monkeypatch.setattr(time, "process_time", lambda: passed[0])


@pytest.mark.usefixtures("ten_seconds_a_batch")
def test_a_budget_ends_a_run_over_its_slices_with_a_rate_that_has_fallen(tmp_path: Path) -> None:
    more = {"budget_minutes": 1.0, "steps": None, "log_every": 1, "floor": 0.1, "warmup": 0}
    whole = train(Toy(), toy_options(tmp_path / "whole", **more))
    first = train(Stopping(4), toy_options(tmp_path / "parts", **more))
    second = train(Toy(), toy_options(tmp_path / "parts", **more))
    assert (whole.step, whole.finished, whole.core_seconds) == (6, True, 60)
    assert (first.step, first.finished, first.core_seconds) == (4, False, 40)
    assert (second.step, second.steps_here, second.finished, second.core_seconds) == (6, 2, True, 60)
    assert same(state(tmp_path / "whole"), state(tmp_path / "parts"))
    for run in ("whole", "parts"):
        lines = [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        rates = [line["learning_rate_factor"] for line in lines]
        assert len(rates) == 6 and rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(0.1)
    again = train(Toy(), toy_options(tmp_path / "parts", **more))
    assert (again.steps_here, again.finished) == (0, True), "what is spent is spent"


@pytest.mark.usefixtures("ten_seconds_a_batch")
def test_of_steps_and_a_budget_the_first_to_come_ends_a_run(tmp_path: Path) -> None:
    assert train(Toy(), toy_options(tmp_path / "a", steps=3, budget_minutes=1.0)).step == 3
    assert train(Toy(), toy_options(tmp_path / "b", steps=30, budget_minutes=0.5)).step == 3
    seen = Seen()
    train(Toy(), toy_options(tmp_path / "c", budget_minutes=0.5, average_every=2), seen)
    assert seen.told == [(0.5, 0.0), *((None, pytest.approx(minutes)) for minutes in (1 / 6, 2 / 6, 0.5, 0.5))]
    assert checkpoints.find(tmp_path / "c").step == 4, "processes that average their weights end where they meet"


class Seen:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[float | None, float]] = []

    def begin(self, total: float, done: float) -> None:
        self.told.append((total, done))

    def update(self, done: float) -> None:
        self.told.append((None, done))


def test_processor_time_is_that_of_children_too() -> None:
    before = core_seconds()
    child = multiprocessing.get_context("fork").Process(target=_spin, args=(0.3,))
    child.start()
    child.join()
    assert core_seconds() - before >= 0.25
    assert child.pid is not None and core_seconds(child.pid) == 0


def _spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_frozen_parts_keep_their_bytes_and_the_others_do_not(tmp_path: Path) -> None:
    train(Toy(), toy_options(tmp_path))
    start, end = Toy().build().state_dict(), checkpoints.find(tmp_path).weights()
    frozen = [name for name in start if name.startswith("frozen.")]
    assert any("running_mean" in name for name in frozen)
    assert all(start[name].numpy().tobytes() == end[name].numpy().tobytes() for name in frozen)
    assert all(not torch.equal(start[name], end[name]) for name in start if name not in frozen)


def test_workers_draw_the_same_batches(tmp_path: Path) -> None:
    train(Toy(), toy_options(tmp_path / "none", steps=3))
    train(Toy(), toy_options(tmp_path / "one", steps=3, workers=1))
    assert same(state(tmp_path / "none"), state(tmp_path / "one"))


class InBlocks(Stopping):
    """The toy with blocks to split it by, and something outside of them."""

    def block_types(self) -> tuple[type[torch.nn.Module], ...]:
        return (torch.nn.Sequential,)


def launched(out: Path, count: int, **more: object) -> list[dict[str, float]]:
    """The toy run by so many processes; the loss terms that each one saw."""

    def work(rank: int) -> None:
        stage = InBlocks(after=2) if more.get("shard") else Toy()
        terms = train(stage, toy_options(out, **more)).losses
        (out / f"terms_{rank}.json").write_text(json.dumps(terms))

    launch(count, work)
    return [json.loads((out / f"terms_{rank}.json").read_text()) for rank in range(count)]


def test_two_processes_are_one_with_the_same_global_batch(tmp_path: Path) -> None:
    alone = train(Toy(), toy_options(tmp_path / "one", steps=4, accumulate=2))
    seen = launched(tmp_path / "two", 2, steps=4, accumulate=1)
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(torch.allclose(value, two[name], atol=1e-6) for name, value in one.items())
    assert not torch.equal(one["generator.0.weight"], Toy().build().state_dict()["generator.0.weight"])
    for name, value in alone.losses.items():
        assert value == pytest.approx(seen[0][name], abs=1e-5)
    assert json.loads((tmp_path / "two" / "config.json").read_text())["processes"] == 2


@pytest.mark.parametrize("checkpointing", [False, True])
def test_split_over_two_processes_a_run_is_the_same_and_goes_on_with_one(tmp_path: Path, checkpointing: bool) -> None:
    whole = train(Toy(), toy_options(tmp_path / "one", accumulate=2, show_every=2))
    more = {"shard": True, "checkpointing": checkpointing, "show_every": 2}
    launched(tmp_path / "two", 2, **more)
    launched(tmp_path / "two", 2, **more)
    kept = checkpoints.find(tmp_path / "two")
    assert kept.step == 4 and kept.weights().keys() == ToyModel().state_dict().keys()
    moments = kept.optimizer("generator")["state"]
    assert moments[0]["exp_avg"].shape == (8, 6), "checkpoints hold whole tensors"
    outcome = train(Toy(), toy_options(tmp_path / "two", accumulate=2))
    assert (outcome.step, outcome.steps_here) == (6, 2)
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(torch.allclose(value, two[name], atol=1e-6) for name, value in one.items())
    assert whole.losses.keys() == outcome.losses.keys()
    assert len(list((tmp_path / "two" / "pictures").iterdir())) > 1


def test_accelerates_own_switch_splits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not sharding.wanted(toy_options(Path(".")).loop)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # what `accelerate launch --use_fsdp` sets
    assert sharding.wanted(toy_options(Path(".")).loop)


def test_split_weights_and_weights_that_meet_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one of them"):
        train(Toy(), toy_options(tmp_path, shard=True, average_every=2))


def test_the_time_limit_holds_and_saves(tmp_path: Path) -> None:
    began = time.monotonic()
    outcome = train(Toy(nap=0.05), toy_options(tmp_path, steps=1000, time_limit=2.0))
    assert time.monotonic() - began < 2.5  # what is over is the machine's: tests share it
    assert 3 < outcome.step < 1000 and not outcome.finished
    assert checkpoints.find(tmp_path).step == outcome.step


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(Toy(), toy_options(tmp_path, save_every=2))
    folders = sorted((tmp_path / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["step_00000004", "step_00000006"]
    whole = {name: value.clone() for name, value in state(tmp_path).items()}  # files are mapped, not read
    with (folders[1] / "weights.safetensors").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\xff")
    again = train(Toy(), toy_options(tmp_path))
    assert "step_00000006 is damaged (weights.safetensors has changed" in caplog.text
    assert (again.step, again.steps_here) == (6, 2)
    assert same(whole, state(tmp_path))


def test_an_interrupted_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(Toy(), toy_options(tmp_path, steps=2))

    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints.os, "replace", fails)
    with pytest.raises(OSError, match="no space"):
        train(Toy(), toy_options(tmp_path, steps=4))
    assert checkpoints.find(tmp_path).step == 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000002"]


def test_pictures_a_clip_and_curves_are_left(tmp_path: Path) -> None:
    outcome = train(Toy(), toy_options(tmp_path, steps=4, show_every=2, log_every=1))
    assert {path.name for path in (tmp_path / "pictures").iterdir()} >= {"step_00000002.jpg", "step_00000004.mp4"}
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"loss/generator/near", "loss/discriminator/gap", "images_per_second", "peak_gib"} <= lines[-1].keys()
    assert outcome.images_per_second > 0 and outcome.peak_bytes > 1e7


class Recorded:
    """What a run of wandb is told."""

    def __init__(self, **about: object) -> None:
        self.about, self.logged, self.finished = about, [], False  # type: ignore[var-annotated]

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "steps")

    def log(self, values: dict[str, object]) -> None:
        self.logged.append(values)

    def finish(self) -> None:
        self.finished = True


def test_wandb_shows_the_curves_of_a_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Recorded] = []

    def init(**about: object) -> Recorded:
        runs.append(Recorded(**about))
        return runs[-1]

    module = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    module.init, module.Image = init, np.shape  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    more = {"wandb": "portraits", "log_every": 1, "show_every": 2}
    train(Stopping(3), toy_options(tmp_path / "run", **more))
    train(Toy(), toy_options(tmp_path / "run", **more))
    first, second = runs
    assert first.about["project"] == "portraits" and first.about["id"] == second.about["id"]
    assert first.about["name"] == "run" and first.about["config"]["wandb"] == "portraits"  # type: ignore[index]
    curves = [values for values in first.logged + second.logged if "loss/generator/near" in values]
    assert [values["steps"] for values in curves] == [1, 2, 3, 4, 5, 6]
    assert {"steps": 2, "pictures": (8, 8, 3)} in first.logged
    assert first.finished and second.finished


def test_wandb_that_is_not_installed_is_told_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.training.engine.logging.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'mien\[wandb\]'"):
        train(Toy(), toy_options(tmp_path / "run", wandb="portraits"))
    assert not (tmp_path / "run").exists()


def test_another_run_gives_the_start(tmp_path: Path) -> None:
    train(Toy(), toy_options(tmp_path / "first"))
    averaged = checkpoints.find(tmp_path / "first").averaged_weights()
    train(Toy(), toy_options(tmp_path / "second", steps=1, start=str(tmp_path / "first"), learning_rate=1e-9))
    end = checkpoints.find(tmp_path / "second").weights()
    assert all(torch.allclose(value, averaged[name], atol=1e-6) for name, value in end.items())
    with pytest.raises(InputError, match="holds no checkpoint"):
        train(Toy(), toy_options(tmp_path / "third", start=str(tmp_path)))


def test_weights_that_do_not_fit_are_named() -> None:
    weights = ToyModel().state_dict()
    with pytest.raises(WeightsError, match="1 missing, such as discriminator.bias"):
        checkpoints.fill(ToyModel(), {k: v for k, v in weights.items() if k != "discriminator.bias"})
    with pytest.raises(WeightsError, match=r"discriminator.bias is \[2\], not \[1\]"):
        checkpoints.fill(ToyModel(), {**weights, "discriminator.bias": torch.zeros(2)})
    checkpoints.fill(
        ToyModel(), {k: v for k, v in weights.items() if "discriminator" not in k}, left_out=("discriminator",)
    )


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower --learning-rate"):
        train(Toy(poison=1), toy_options(tmp_path, steps=40))


def test_parts_and_rates() -> None:
    model, stage = ToyModel(), Toy()
    assert list(part_parameters(model, "discriminator")) == ["discriminator.weight", "discriminator.bias"]
    with pytest.raises(KeyError, match="no part nobody"):
        part_parameters(model, "nobody")
    assert all(not name.startswith("frozen") for name in trained_names(model, stage.optimizer_steps))
    options = toy_options(Path("."), warmup=10, floor=0.1).loop
    assert rate_factor(0, 0.0, options) == pytest.approx(0.1)
    assert rate_factor(100, 1.0, options) == pytest.approx(0.1)
    assert 0.5 < rate_factor(50, 0.5, options) < 0.6
    assert isinstance(stage, Stage)


def test_what_stays_as_it_is_is_written_once_a_run(tmp_path: Path) -> None:
    train(Toy(), toy_options(tmp_path, save_every=2))
    folders = sorted((tmp_path / "checkpoints").iterdir())
    (frozen,) = tmp_path.glob("frozen_*.safetensors")
    held = load_file(frozen)
    assert set(held) == {name for name, _ in ToyModel().named_parameters() if name.startswith("frozen.")}
    for folder in folders:
        saved = load_file(folder / "weights.safetensors")
        assert not set(saved) & set(held) and "frozen.1.running_mean" in saved, "buffers may move"
        manifest = json.loads((folder / "manifest.json").read_text())
        assert set(manifest["frozen"]["tensors"]) == set(held)
    assert checkpoints.find(tmp_path).weights().keys() == ToyModel().state_dict().keys()
    with frozen.open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\xff\xff")
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoints.find(tmp_path)


def test_checkpoints_are_kept_by_time(tmp_path: Path) -> None:
    nothing = {"a": torch.zeros(1)}
    for step, hours in enumerate((0.0, 0.5, 1.1, 1.5, 2.2, 2.3)):
        made = checkpoints.save(tmp_path, step, nothing, nothing, {}, keep_every=1.0)
        written = time.time() + 3600 * (hours - 10)
        os.utime(made.path / "manifest.json", (written, written))
    left = sorted(int(path.name[5:]) for path in (tmp_path / "checkpoints").iterdir())
    assert left == [0, 2, 4, 5], "one an hour, and the newest two"


def test_runs_of_the_first_release_keep_their_names_for_parts(tmp_path: Path) -> None:
    weights = {"critic.weight": torch.ones(1), "generator.critical": torch.zeros(1)}
    made = checkpoints.save(tmp_path, 1, weights, weights, {"critic": {"state": {}, "param_groups": []}})
    assert set(made.weights()) == set(made.average()) == {"discriminator.weight", "generator.critical"}
    assert made.optimizer("discriminator")["param_groups"] == []
