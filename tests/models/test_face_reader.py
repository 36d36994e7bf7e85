from __future__ import annotations

import torch

from mien.models.face_reader import FaceReaderConfig, FaceReaderNetwork

TINY = FaceReaderConfig(side=32, finder_channels=(4, 4, 4, 4), reader_channels=(4, 4, 4, 4), squeeze=2, hidden=8)


def test_shapes_and_ranges() -> None:
    network = FaceReaderNetwork(TINY).eval()
    found = network.finder(torch.randn(2, 3, 64, 96))
    assert found.logit.shape == (2, 8, 12) and found.centre.shape == (2, 2, 8, 12)
    assert found.size.shape == (2, 8, 12) and found.turn.shape == (2, 2, 8, 12) and (found.size > 0).all()
    read = network.reader(torch.randn(2, 3, 32, 32))
    assert read.landmarks.shape == (2, 68, 2) and read.angles.shape == (2, 3) and read.logit.shape == (2,)
    assert read.expression.shape == (2, 52) and read.expression.min() >= 0 and read.expression.max() <= 1


def test_the_finder_counts_in_pixels_of_the_picture() -> None:
    finder = FaceReaderNetwork(TINY).eval().finder
    last = finder.head[-1]
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    found = finder(torch.zeros(1, 3, 64, 64))
    assert found.centre[0, :, 2, 5].tolist() == [44.0, 20.0]  # the middle of the cell in row 2, column 5
    assert torch.allclose(found.size, torch.tensor(48.0))


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = FaceReaderNetwork(TINY)
    found, read = network.finder(torch.randn(4, 3, 64, 64)), network.reader(torch.randn(4, 3, 32, 32))
    parts = [found.logit, found.centre, found.size, found.turn]
    parts += [read.landmarks, read.angles, read.expression, read.logit]
    torch.stack([part.square().mean() for part in parts]).sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_the_default_is_small() -> None:
    assert sum(p.numel() for p in FaceReaderNetwork().parameters()) < 2_000_000
