"""The golden kits: the published code's arrays, and a home-made kit of other sizes that tests the command itself."""

from __future__ import annotations

import builtins
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import InputError
from parity.__main__ import BUNDLED, main
from parity.kit_files import compare, read_kit
from parity.official_model import write_kit
from parity.runs import run_parity

pytestmark = [pytest.mark.parity, pytest.mark.slow]


@pytest.fixture(scope="module")
def home_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    write_kit(folder)
    return folder


@pytest.fixture
def kit(home_made: Path, tmp_path: Path) -> Path:
    """A copy of the home-made kit that a test may damage."""
    return Path(shutil.copytree(home_made, tmp_path / "kit"))


def _change(path: Path, name: str, value: np.ndarray) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, name: value})


def test_the_published_code_is_reproduced() -> None:
    pytest.importorskip("skimage", reason="scikit-image is optional")
    kit = BUNDLED
    results = run_parity(kit)
    assert [result.line() for result in results if not result.passed] == []
    with np.load(kit / "outputs.npz") as golden:
        assert [result.name for result in results] == golden.files


def test_another_kit_passes(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(kit)]) == 0
    lines = capsys.readouterr().out.splitlines()
    with np.load(kit / "outputs.npz") as golden:
        assert [line.split()[1] for line in lines[:-1]] == golden.files
        assert lines[-1] == f"{len(golden.files)} of {len(golden.files)} arrays within tolerance"


def test_a_deviation_is_found_and_leaves_with_one(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(kit / "outputs.npz") as golden:
        changed = golden["runB.x_last"].copy()
    changed[2, 1, 0, 3] += 1e-3 * np.abs(changed).max()
    _change(kit / "outputs.npz", "runB.x_last", changed)
    assert main([str(kit)]) == 1
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")] == [
        "runB.x_last"
    ]


def test_an_array_without_a_check_is_a_failure(kit: Path) -> None:
    golden = read_kit(kit)
    golden.outputs["runA.something_new"] = np.zeros(3)
    golden.outputs["vae.mode_scaled"] = np.zeros((4, 2, 2))
    results = {result.name: result for result in compare(golden, {"vae.mode_scaled": np.zeros((4, 2, 3))}, {})}
    assert "no check" in results["runA.something_new"].line()
    assert "shape" in results["vae.mode_scaled"].line()
    assert not any(result.passed for result in results.values())


def test_not_a_number_is_no_agreement(kit: Path) -> None:
    golden = read_kit(kit)
    ours = {name: np.full_like(array, np.nan) for name, array in golden.outputs.items() if array.dtype.kind == "f"}
    assert not any(result.passed for result in compare(golden, ours, {}))


def test_without_scikit_image_its_arrays_fail_with_the_reason(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *rest)

    pictures = {"align.source_u8": (8, 8, 3), "align.driving_u8": (2, 8, 8, 3)}
    for name, shape in pictures.items():
        _change(kit / "inputs.npz", name, np.zeros(shape, np.uint8))
    for name, shape in {"src": (68, 2), "drv": (2, 68, 2), "local": (2, 68, 2)}.items():
        _change(kit / "inputs.npz", f"align.{name}_lmks", np.random.default_rng(0).random(shape, np.float32))
    _change(kit / "outputs.npz", "align.ld_stats", np.zeros((2, 2)))
    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.startswith("skimage")]:
        monkeypatch.delitem(sys.modules, name)
    failed = [result for result in run_parity(kit) if not result.passed]
    assert [result.name for result in failed] == ["align.ld_stats"]
    assert "pip install scikit-image" in failed[0].line()


def test_a_damaged_kit_is_one_sentence(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 2
    assert "no golden kit" in capsys.readouterr().err
    manifest = json.loads((kit / "manifest.json").read_text())
    entry = next(entry for entry in manifest["state_dict"] if entry["kind"] == "param")
    entry["crc32"] = 1
    (kit / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="another checksum"):
        run_parity(kit)
    (kit / "outputs.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="no golden kit"):
        run_parity(kit)


def test_windows_that_begin_elsewhere_are_told(kit: Path) -> None:
    manifest = json.loads((kit / "manifest.json").read_text())
    manifest["info"]["A"]["window_starts"][1][0] += 1
    (kit / "manifest.json").write_text(json.dumps(manifest))
    failed = {result.name: result.problem for result in run_parity(kit) if not result.passed}
    assert all("windows start" in problem for problem in failed.values())
    assert {name.split(".")[0] for name in failed} == {"runA", "variant"}
