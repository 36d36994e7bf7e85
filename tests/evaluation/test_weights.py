from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mien.errors import InputError, WeightsError
from mien.evaluation import weights
from mien.evaluation.identity import YuNet
from mien.evaluation.scoring import ScoreOptions, Scorer, unavailable
from mien.evaluation.weights import (
    NEEDS,
    Package,
    WeightFile,
    fetch,
    fetchable,
    find_weights,
    missing,
    networks_used,
    parse_checksum,
)


@pytest.fixture(autouse=True)
def _nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))


def test_what_is_absent_is_missing_with_the_way_to_get_it(tmp_path: Path) -> None:
    lacking = unavailable(ScoreOptions(weights=(tmp_path,)))
    assert {"lpips", "fvd", "identity_sface", "identity_retail"} <= set(lacking) and "aed" not in lacking
    assert "alexnet-owt-7be5be79.pth" in lacking["lpips"] and "mien evaluate weights" in lacking["lpips"]
    assert "to ONNX" in lacking["identity_retail"]
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
    assert "has the sha256" in str(missing("yunet")), "whatever lies there"


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


def test_another_file_than_the_published_one_is_not_used(tmp_path: Path) -> None:
    """It would be another number under the metric's name."""
    path = tmp_path / "rgb_imagenet.pt"
    path.write_bytes(b"another network")
    digest = hashlib.sha256(b"another network").hexdigest()
    told = unavailable(ScoreOptions(("fvd",), (tmp_path,)))["fvd"]
    assert f"{path} has the sha256 {digest}" in told and f"--checksum i3d={digest}" in told
    assert str(NEEDS["i3d"].sha256) in told  # type: ignore[union-attr]
    meant = ScoreOptions(("fvd",), (tmp_path,), (("i3d", digest),))
    assert unavailable(meant) == {}
    scorer = Scorer(meant)
    assert scorer.networks == {"i3d": {"file": path.name, "sha256": digest, "checksum": "given"}}
    path.write_bytes(b"a third one that lies there")
    assert "not the given" in unavailable(meant)["fvd"], "a file that was exchanged is noticed"
    assert Scorer(meant).digest != scorer.digest, "kept scores of other networks are measured anew"


def test_checksums_are_given_by_name() -> None:
    assert parse_checksum("i3d=" + "AB" * 32) == ("i3d", "ab" * 32)
    with pytest.raises(InputError, match="no network 'vgg': choose from alexnet"):
        parse_checksum("vgg=" + "ab" * 32)
    for wrong in ("i3d", "i3d=ab", "i3d=" + "xy" * 32):
        with pytest.raises(InputError, match="64 digits"):
            parse_checksum(wrong)


def test_every_file_has_a_published_checksum(assets: Path) -> None:
    for name, need in NEEDS.items():
        if isinstance(need, WeightFile):
            assert len(need.sha256) == 64 and int(need.sha256, 16), name
    for name in ("yunet", "retail"):
        assert missing(name, [assets / "face_id"]) is None
        assert networks_used([name], [assets / "face_id"], ())[name]["checksum"] == "published"


def test_fetching_checks_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"weights" * 1000)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    good = WeightFile(("tiny.pth",), "tiny", digest, source.as_uri())
    monkeypatch.setitem(NEEDS, "tiny", good)
    seen: list[int] = []
    path = fetch("tiny", tmp_path / "weights", seen.append)
    assert path.read_bytes() == source.read_bytes() and seen[-1] == 7000
    path.write_bytes(b"kept")
    assert fetch("tiny", tmp_path / "weights").read_bytes() == b"kept", "what is there stays"
    monkeypatch.setitem(NEEDS, "bad", WeightFile(("bad.pth",), "bad", "00" * 32, source.as_uri()))
    with pytest.raises(InputError, match="another file than expected"):
        fetch("bad", tmp_path / "weights")
    monkeypatch.setitem(NEEDS, "gone", WeightFile(("gone.pth",), "gone", "00" * 32, (tmp_path / "gone").as_uri()))
    with pytest.raises(InputError, match="by hand"):
        fetch("gone", tmp_path / "weights")
    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == ["tiny.pth"], "nothing half fetched stays"
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch("retail", tmp_path)


def test_what_can_be_fetched_has_an_address() -> None:
    assert {"alexnet", "inception", "i3d", "hyperiqa", "yunet", "sface"} == set(fetchable())
    for name in fetchable():
        need = NEEDS[name]
        assert isinstance(need, WeightFile) and str(need.url).startswith("https://") and need.licence
    assert weights.evaluation_cache().name == "evaluation"


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "y.onnx").write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match=r"y\.onnx"):
        YuNet(tmp_path / "y.onnx")
