from __future__ import annotations

from pathlib import Path

import pytest

from mien.jobs import doctor


def findings(diagnosis: doctor.Diagnosis) -> dict[str, doctor.Finding]:
    return {finding.name: finding for section in diagnosis.sections.values() for finding in section}


def test_versions_devices_and_weights_are_listed() -> None:
    found = findings(doctor.examine())
    assert {"mien", "python", "torch", "diffusers", "cpu", "bundled nano", "bundled face-networks"} <= set(found)


def test_missing_weights_are_named_with_a_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mien.weights.HERE", tmp_path)
    diagnosis = doctor.examine()
    found = findings(diagnosis)
    assert not diagnosis.ready
    assert found["bundled nano"].fix is not None
    assert found["bundled face-networks"].fix is not None


def test_ready_once_the_bundled_models_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mien.weights import FOLDERS

    monkeypatch.setattr("mien.weights.HERE", tmp_path)
    for name in FOLDERS.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes(b"0" * 2_000_000)
    diagnosis = doctor.examine()
    assert diagnosis.ready
    assert "(2.0 MB)" in findings(diagnosis)["bundled nano"].state


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    extras = doctor._extras()
    assert {finding.fix for finding in extras} >= {'pip install "mien[train]"', 'pip install "mien[web]"'}
