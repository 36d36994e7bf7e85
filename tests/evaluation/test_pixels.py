from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.evaluation import pixels

pytest.importorskip("torchmetrics")
metrics = pytest.importorskip("skimage.metrics")


def test_metrics_of_pixels_agree_with_scikit_image(frames: np.ndarray) -> None:
    other = np.clip(frames.astype(int) + np.random.default_rng(1).integers(-60, 60, frames.shape), 0, 255)
    other = other.astype(np.uint8)
    a, b = pixels.to_unit(frames), pixels.to_unit(other)
    psnr, ssim = pixels.psnr(a, b), pixels.ssim(a, b)
    for index, (one, two) in enumerate(zip(frames / 255, other / 255, strict=True)):
        assert psnr[index] == pytest.approx(metrics.peak_signal_noise_ratio(one, two, data_range=1), abs=1e-3)
        # scikit-image leaves the border of the 11 pixel window out of its mean, torchmetrics reflects it
        theirs = metrics.structural_similarity(
            one, two, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert ssim[index] == pytest.approx(theirs, abs=0.02)
    assert pixels.l1(a, b) == pytest.approx(np.abs(frames / 255 - other / 255).mean((1, 2, 3)), abs=1e-6)


def test_ends_of_the_scales(frames: np.ndarray) -> None:
    same = pixels.to_unit(frames)
    assert pixels.l1(same, same) == [0.0] * 5
    assert pixels.psnr(same, same) == [pixels.LARGEST_PSNR] * 5
    assert pixels.ssim(same, same) == pytest.approx([1.0] * 5, abs=1e-5)
    black, white = same * 0, same * 0 + 1
    assert pixels.l1(black, white) == [1.0] * 5
    assert pixels.psnr(black, white) == pytest.approx([0.0] * 5, abs=1e-4)
    assert max(pixels.ssim(black, white)) < 0.01


def test_psnr_and_sharpness_are_their_formulae(frames: np.ndarray) -> None:
    other = frames[::-1].copy()
    one, two = frames[0] / 255.0, other[0] / 255.0
    theirs = 10 * np.log10(1 / max(((one - two) ** 2).mean(), 1e-10))
    assert pixels.psnr(pixels.to_unit(frames), pixels.to_unit(other))[0] == pytest.approx(theirs, abs=1e-3)
    points = np.array([[10.0, 12.0], [50.0, 48.0]], np.float32)
    face = np.ascontiguousarray(frames[0][12:49, 10:51])  # the landmarks' bounding box
    grey = cv2.cvtColor(cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    padded = np.pad(grey.astype(float), 1, mode="reflect")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    assert pixels.sharpness(frames[0], points) == pytest.approx((around - 4 * padded[1:-1, 1:-1]).var())


def test_patches_lie_where_local_control_looks(frames: np.ndarray) -> None:
    landmarks = np.full((68, 2), 32.0)
    landmarks[42:48], landmarks[36:42], landmarks[48:68] = [44, 24], [20, 24], [32, 46]
    frame = pixels.to_unit(frames)[0]
    eyes, mouth = pixels.patches(frame, landmarks)
    assert eyes.shape == (2, 3, 16, 16) and mouth.shape == (1, 3, 16, 16)
    assert (eyes[0] == frame[:, 16:32, 36:52]).all() and (mouth[0] == frame[:, 38:54, 24:40]).all()


def test_no_face_no_sharpness(frames: np.ndarray) -> None:
    assert pixels.sharpness(frames[0], np.array([[90.0, 90.0], [99.0, 99.0]])) is None
    assert pixels.mean([None, None]) is None and pixels.mean([None, 2.0]) == 2.0
