"""Networks and Fréchet distances of metrics against reference implementations, with random weights.

What torchmetrics and SciPy can tell is asked here. Of those that no extra installs (lpips, torch-fidelity, pytorch-i3d,
hyperIQA, insightface's iresnet) tests/assets/reference_networks.json holds what they gave for the weights and pictures
of `reference_fill`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import WeightsError
from mien.evaluation.distributions import frechet_distance
from mien.evaluation.hyperiqa import HyperIQA, load_hyperiqa, squares
from mien.evaluation.i3d import I3D, load_i3d
from mien.evaluation.inception import Inception, load_inception
from mien.evaluation.perceptual import Lpips, load_lpips
from reference_fill import expected, filled, pictures

lpips_of_torchmetrics = pytest.importorskip("torchmetrics.functional.image.lpips")


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's AlexNet, with random weights; its classifier is there and must not matter."""
    torch.manual_seed(0)
    tensors = {k: v for k, v in Lpips().state_dict().items() if k.startswith("features.")}
    tensors["classifier.6.bias"] = torch.zeros(1000)
    path = tmp_path_factory.mktemp("weights") / "alexnet-owt-7be5be79.pth"
    torch.save(tensors, path)
    return path


def test_lpips_agrees_with_torchmetrics(alexnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = load_lpips(alexnet)
    # torchmetrics takes the backbone from torchvision; the same random one is put in its place
    monkeypatch.setattr(lpips_of_torchmetrics, "_get_tv_model_features", lambda *_, **__: ours.features)
    monkeypatch.setattr(torch, "load", _on_cpu(torch.load))
    theirs = lpips_of_torchmetrics._LPIPS(pretrained=True, net="alex", pnet_rand=True).eval()
    a, b = torch.rand(3, 3, 64, 64), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        wanted = theirs(a * 2 - 1, b * 2 - 1).flatten()
    assert ours.distances(a, b) == pytest.approx(wanted.tolist(), rel=1e-4)
    assert ours.distances(a, a) == [0.0] * 3
    assert min(ours.distances(a, b)) > 0


def _on_cpu(load):  # torchmetrics' heads were saved on a GPU
    return lambda path, **given: load(path, **{**given, "map_location": "cpu"})


def test_only_torchvisions_alexnet_is_taken(tmp_path: Path, alexnet: Path) -> None:
    tensors = torch.load(alexnet, weights_only=True)
    del tensors["features.0.weight"]
    torch.save(tensors, tmp_path / "short.pth")
    (tmp_path / "rubbish.pth").write_bytes(b"no tensors")
    for name in ("short.pth", "rubbish.pth"):
        with pytest.raises(WeightsError, match=name):
            load_lpips(tmp_path / name)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"network": torch.nn.Linear(1, 1)}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="code.pth"):
        load_i3d(tmp_path / "code.pth")


def saved(network: torch.nn.Module, path: Path) -> Path:
    """A file with the weights that the references were filled with."""
    torch.save(filled(network.state_dict()), path)
    return path


def test_i3d_gives_the_logits_of_pytorch_i3d(tmp_path: Path) -> None:
    network = load_i3d(saved(I3D(), tmp_path / "rgb_imagenet.pt"))
    with torch.no_grad():
        logits = network(pictures("clip", (1, 3, 10, 224, 224)) * 2 - 1)[0].numpy()
    wanted = np.array(expected("i3d"))
    assert wanted.shape == (400,) and wanted.std() > 0.1
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_i3d_has_the_published_shapes() -> None:
    network = I3D().eval()
    parameters = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert parameters["Conv3d_1a_7x7.conv3d.weight"] == (64, 3, 7, 7, 7)
    assert parameters["Mixed_5c.b3b.bn.running_var"] == (128,)
    assert parameters["logits.conv3d.weight"] == (400, 1024, 1, 1, 1) and parameters["logits.conv3d.bias"] == (400,)
    assert sum(value.numel() for value in network.parameters()) == 12_697_264
    assert network.features(torch.rand(15, 3, 32, 32)).shape == (0, 400), "less than one stretch of 16"


def test_hyperiqa_rates_as_the_published_network(tmp_path: Path) -> None:
    network = load_hyperiqa(saved(HyperIQA(), tmp_path / "koniq_pretrained.pkl"))
    with torch.no_grad():
        ratings = network(pictures("square", (2, 3, 224, 224)))
    wanted = expected("hyperiqa")
    assert wanted[0] != pytest.approx(wanted[1], rel=1e-3)
    assert ratings.tolist() == pytest.approx(wanted, rel=1e-4)
    torch.save({"conv1.0.bias": torch.zeros(1024)}, tmp_path / "short.pkl")
    with pytest.raises(WeightsError, match=r"short\.pkl is not HyperIQA"):
        load_hyperiqa(tmp_path / "short.pkl")


def test_hyperiqa_sees_the_whole_picture_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = torch.zeros(3, 512, 384)
    frame[0] = torch.linspace(0, 1, 512)[:, None]
    frame[1] = torch.linspace(0, 1, 384)
    found = squares(frame)
    assert found.shape == (25, 3, 224, 224)
    torch.testing.assert_close(found[0], frame[:, :224, :224], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[-1], frame[:, -224:, -224:], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[12], frame[:, 144:368, 80:304], atol=1e-6, rtol=0)
    monkeypatch.setattr(HyperIQA, "forward", lambda _, x: x.mean((1, 2, 3)))
    assert HyperIQA().ratings(frame[None]) == pytest.approx([float(found.mean())])


def test_lpips_agrees_with_the_lpips_package(tmp_path: Path) -> None:
    tensors = {key: value for key, value in Lpips().state_dict().items() if key.startswith("features.")}
    torch.save(filled(tensors), tmp_path / "alexnet.pth")
    network = load_lpips(tmp_path / "alexnet.pth")
    distances = network.distances(pictures("first", (3, 3, 64, 64)), pictures("second", (3, 3, 64, 64)))
    assert distances == pytest.approx(expected("lpips"), rel=1e-4)


def test_inception_gives_the_features_of_torch_fidelity(tmp_path: Path) -> None:
    network = load_inception(saved(Inception(), tmp_path / "inception.pth"))
    found, wanted = network.features(pictures("inception", (2, 3, 200, 256)))[:, ::8], np.array(expected("inception"))
    np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-4, atol=1e-4 * wanted.max())


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the published one, with random weights and statistics, and a classifier."""
    torch.manual_seed(0)
    network = Inception()
    for name, tensor in network.state_dict().items():
        if name.endswith("conv.weight"):
            torch.nn.init.kaiming_normal_(tensor)
        if name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(0, 0.1)
    tensors = {**network.state_dict(), "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(tensors, path)
    return path


def test_inception_has_the_published_shapes(inception: Path, tmp_path: Path) -> None:
    network = load_inception(inception)
    parameters = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert parameters["Conv2d_4a_3x3.conv.weight"] == (192, 80, 3, 3)
    assert parameters["Mixed_5d.branch_pool.conv.weight"] == (64, 288, 1, 1)
    assert parameters["Mixed_6c.branch7x7dbl_5.conv.weight"] == (192, 160, 1, 7)
    assert parameters["Mixed_7c.branch3x3dbl_3b.bn.running_var"] == (384,)
    assert sum(value.numel() for value in network.parameters()) == 21_785_568
    found = network.features(torch.rand(3, 3, 40, 60))
    assert found.shape == (3, 2048) and np.isfinite(found).all() and (found.std(1) > 0).all()
    torch.save({"fc.bias": torch.zeros(1008)}, tmp_path / "short.pth")
    with pytest.raises(WeightsError, match="short.pth"):
        load_inception(tmp_path / "short.pth")


def test_inception_agrees_with_torch_fidelity(inception: Path) -> None:
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", exc_type=ImportError)
    network = theirs.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(inception)).eval()
    frames = torch.rand(2, 3, 200, 256)
    (wanted,) = network((frames * 255).round().byte())
    np.testing.assert_allclose(load_inception(inception).features(frames), wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_frechet_distance_agrees_with_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    for rows in (300, 40):  # more rows than columns, and fewer
        a, b = rng.normal(size=(rows, 60)), rng.normal(size=(rows + 7, 60)) * 1.3 + 0.2
        one, two = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        root = linalg.sqrtm(one @ two).real
        wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + two - 2 * root)
        assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-3)


def test_frechet_distance_agrees_with_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(200, 8)), rng.normal(size=(150, 8)) + 1
    moments = [torch.from_numpy(v) for f in (a, b) for v in (f.mean(0), np.cov(f, rowvar=False))]
    assert frechet_distance(a, b) == pytest.approx(float(fid._compute_fid(*moments)), rel=1e-6)


def test_frechet_distance_at_its_ends() -> None:
    a = np.random.default_rng(2).normal(size=(30, 12))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(9 * 12)
    with pytest.raises(ValueError, match="two rows"):
        frechet_distance(a[:1], a)
