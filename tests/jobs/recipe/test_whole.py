"""A model from nothing, in small: rendered people, two trainings, an interruption, a model folder and its card."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPE = """
about: An autoencoder of rendered people.
inputs: {photos: a folder with a head model}
steps:
  - {name: head, about: the head model, run: "data head-model {photos}/head_model.npz -o {out}", out: head.npz}
  - name: groups
    about: random people
    run: data avatars --people {people} --per-group 1 --head-model {head} --seed {seed} --workers 1 --out {out}
    seed: 5
    scaled: {people: 2000}
    core_hours: 10
  - name: vae
    about: the autoencoder
    run: &train >-
      train vae --data {groups} --window 32 --batch-size 1 --show-every 0 --log-every 1 --warmup 1 --precision fp32
      --budget-minutes {core_minutes} --seed {seed} --out {out}
    seed: 1
    core_hours: 2
  - name: longer
    about: the same, on from there
    run: train vae --data {groups} --start {vae} --window 32 --batch-size 1 --steps {steps} --seed {seed} --out {out}
    seed: 2
    scaled: {steps: 2000}
    core_hours: 1
  - {name: model, about: the model folder, run: "train export {longer} -o {out} --largest 40"}
  - {name: card, about: the card, run: "train card {runs} -o {out}", out: model/README.md}
"""


def command(folder: Path) -> list[str]:
    line = [sys.executable, "-m", "mien", "train", "recipe", str(folder / "small.yaml"), "--out", str(folder / "runs")]
    return [*line, "--input", f"photos={folder / 'photos'}", "--budget-scale", "0.001"]


def test_a_recipe_from_end_to_end_over_a_ctrl_c(tmp_path: Path, pack: Path) -> None:
    pytest.importorskip("accelerate")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "head_model.npz").symlink_to(pack)
    (tmp_path / "small.yaml").write_text(RECIPE, encoding="utf-8")
    runs = tmp_path / "runs"
    began = runs / "vae" / "log.jsonl"  # written after the first step
    listen = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # whoever runs the tests may not: nohup, a background job
    first = subprocess.Popen(command(tmp_path), stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    while not began.exists():
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=300)[1]
    assert first.returncode == 130, said
    assert "stopping vae" in said and "vae: done" not in said
    stopped = json.loads((runs / "vae" / "config.json").read_text())["loop"]
    assert (stopped["budget_minutes"], stopped["steps"]) == (0.12, None)
    assert list((runs / "vae" / "checkpoints").glob("step_*")), "what was trained is kept"

    shown = subprocess.run([*command(tmp_path), "--status"], capture_output=True, text=True, check=True).stdout
    states = {line.split()[0]: line for line in shown.splitlines()}
    assert "done" in states["groups"] and "interrupted: at step" in states["vae"] and "to do" in states["card"]

    rest = subprocess.run(command(tmp_path), capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert rest.returncode == 0, rest.stderr
    assert "groups" not in rest.stderr and "vae: goes on" in rest.stderr and "card: done" in rest.stderr
    trained = json.loads((runs / "vae" / "export" / "training.json").read_text())
    assert trained["core_hours"] * 60 >= 0.12
    ledger = json.loads((runs / "ledger.json").read_text())["steps"]
    assert [attempt["end"] for attempt in ledger["vae"]["attempts"]] == ["interrupted", "done"]
    assert ledger["vae"]["core_hours"] * 3600 > 7.2, "what it took to begin counts in the ledger"
    assert json.loads((runs / "longer" / "export" / "training.json").read_text())["step"] == 2
    assert (runs / "model" / "diffusion_pytorch_model.safetensors").is_file()
    assert not (runs / "model" / "training.json").exists()
    card = (runs / "model" / "README.md").read_text()
    for part in ("# small", "An autoencoder", "--people 2 --per-group 1 --head-model head.npz --seed 5", "2 steps; "):
        assert part in card, card
    assert str(tmp_path) not in card, "no path of this machine"
