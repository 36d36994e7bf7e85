from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mien.errors import InputError, WeightsError
from mien.evaluation import weights
from mien.evaluation.identity import YuNet, insightface_root
from mien.evaluation.scoring import ScoreOptions, Scorer, unavailable
from mien.evaluation.weights import NEEDS, Package, WeightFile, fetch, fetchable, find_weights, missing


@pytest.fixture(autouse=True)
def _nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))


def test_what_is_absent_is_missing_with_the_way_to_get_it(tmp_path: Path) -> None:
    lacking = unavailable(ScoreOptions(weights=(tmp_path,)))
    assert {"lpips", "fvd", "identity_sface", "identity_retail"} <= set(lacking) and "aed" not in lacking
    assert "alexnet-owt-7be5be79.pth" in lacking["lpips"] and "mien evaluate weights" in lacking["lpips"]
    assert lacking["identity_retail"].endswith("ONNX")
    assert Scorer(ScoreOptions(("lpips", "l1"), (tmp_path,))).wanted == ("l1",)


def test_files_are_found_in_the_given_folders_first(tmp_path: Path) -> None:
    assert find_weights("yunet", [tmp_path]) is None
    cached = tmp_path / "cache" / "evaluation" / "face_detection_yunet_2023mar.onnx"
    given = tmp_path / "given" / "deep" / cached.name
    for path in (cached, given):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    assert find_weights("yunet", [tmp_path / "given"]) == given
    assert find_weights("yunet") == cached
    assert missing("yunet") is None


def test_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "nonsense", Package("no_such_module_at_all", "pip install nonsense"))
    assert missing("nonsense") == "needs nonsense: pip install nonsense"


def test_a_package_that_another_one_breaks_is_missing_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_metrics.py").write_text("import no_such_module_at_all\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(NEEDS, "broken", Package("broken_metrics", "pip install broken"))
    told = missing("broken")
    assert told is not None and "cannot be imported (No module named 'no_such_module_at_all')" in told


def test_no_extra_brings_torchvision() -> None:
    """It drags in CUDA, and breaks diffusers beside a torch of another index."""
    root = Path(__file__).parents[2]
    for file in ("pyproject.toml", "constraints.txt"):
        content = (root / file).read_text(encoding="utf-8")
        assert not [name for name in ("torchvision", "torch-fidelity", "pyiqa") if name in content], file


def test_insightface_is_not_let_to_download(tmp_path: Path) -> None:
    assert insightface_root((tmp_path,)) in (None, Path.home() / ".insightface")
    model = tmp_path / "models" / "buffalo_l" / "w600k_r50.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"")
    assert insightface_root((tmp_path,)) == tmp_path


def test_fetching_checks_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"weights" * 1000)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    good = WeightFile(("tiny.pth",), "tiny", source.as_uri(), digest[:8])
    monkeypatch.setitem(NEEDS, "tiny", good)
    seen: list[int] = []
    path = fetch("tiny", tmp_path / "weights", seen.append)
    assert path.read_bytes() == source.read_bytes() and seen[-1] == 7000
    path.write_bytes(b"kept")
    assert fetch("tiny", tmp_path / "weights").read_bytes() == b"kept", "what is there stays"
    monkeypatch.setitem(NEEDS, "bad", WeightFile(("bad.pth",), "bad", source.as_uri(), "0000"))
    with pytest.raises(InputError, match="another file than expected"):
        fetch("bad", tmp_path / "weights")
    monkeypatch.setitem(NEEDS, "gone", WeightFile(("gone.pth",), "gone", (tmp_path / "gone").as_uri()))
    with pytest.raises(InputError, match="by hand"):
        fetch("gone", tmp_path / "weights")
    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == ["tiny.pth"], "nothing half fetched stays"
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch("retail", tmp_path)


def test_what_can_be_fetched_has_an_address() -> None:
    assert {"alexnet", "inception", "i3d", "yunet", "sface"} == set(fetchable())
    for name in fetchable():
        need = NEEDS[name]
        assert isinstance(need, WeightFile) and str(need.url).startswith("https://") and need.licence
    assert weights.evaluation_cache().name == "evaluation"


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "y.onnx").write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match=r"y\.onnx"):
        YuNet(tmp_path / "y.onnx")
