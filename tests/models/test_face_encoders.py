"""DeX-Portrait nano's encoders: the face reader's landmark network, taught on; and tokens that are read off a code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mien.models.dex_portrait import FACE_WINDOW
from mien.models.dex_portrait.expression_attention import ExpressionAttention
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FaceFeatures, FacePoseEncoder
from mien.models.dex_portrait.injection import MotionInjection
from mien.models.face_networks import LandmarkNetwork
from mien.pipelines import loading
from mien.pipelines.dex_portrait import PARTS


@pytest.fixture(scope="module")
def landmarks() -> LandmarkNetwork:
    torch.manual_seed(0)
    return LandmarkNetwork().eval()


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    return torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_are_those_of_the_landmark_network(landmarks: LandmarkNetwork, crops: torch.Tensor) -> None:
    features = FaceFeatures()
    features.take(landmarks.state_dict())
    seen: list[torch.Tensor] = []
    # the last layers of the stages at 4 x 4 and at 2 x 2 cells
    hooks = [landmarks.body[place].register_forward_hook(lambda *given: seen.append(given[2])) for place in (30, -1)]
    with torch.no_grad():
        landmarks((crops + 1) / 2)
        found = features(crops)
    for hook in hooks:
        hook.remove()
    assert [tuple(one.shape) for one in seen] == [(2, 128, 4, 4), (2, 128, 2, 2)]
    torch.testing.assert_close(found, features.norm(torch.cat([one.flatten(1) for one in seen], 1)))


def test_edges_and_spots_are_not_taught_on(landmarks: LandmarkNetwork, crops: torch.Tensor) -> None:
    encoder = FaceExpressionEncoder(code=8)
    encoder.features.take(landmarks.state_dict())
    encoder(crops[:1]).sum().backward()
    learns = [parameter.grad is not None for parameter in encoder.features.body.parameters()]
    general = sum(len(list(layer.parameters())) for layer in encoder.features.body[:11])
    assert not any(learns[:general]) and all(learns[general:])


def test_a_fresh_pose_encoder_says_that_heads_are_straight(crops: torch.Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(FacePoseEncoder()(crops), torch.zeros(2, 6))
        assert FaceExpressionEncoder(code=12)(crops).shape == (2, 12)


def test_encoders_come_back_from_folders_by_the_name_in_their_configuration(
    tmp_path: Path, crops: torch.Tensor
) -> None:
    made = {"pose_encoder": FacePoseEncoder(), "expression_encoder": FaceExpressionEncoder(code=12)}
    torch.nn.init.normal_(made["pose_encoder"].head.weight)
    for part, encoder in made.items():
        encoder.save_pretrained(tmp_path / part)
        again = loading.load_part(PARTS[part], tmp_path / part)
        assert type(again) is type(encoder)
        with torch.no_grad():
            assert torch.equal(again(crops), encoder(crops))


def test_tokens_are_read_off_codes_of_another_length() -> None:
    assert FACE_WINDOW.injection()["code"] == FACE_WINDOW.expression.code == 256
    torch.manual_seed(0)
    injection = MotionInjection((("here", 16, 4),), tokens=3, token_dim=8, heads=2, norm_num_groups=4, code=10)
    codes = torch.randn(2, 10)
    with torch.no_grad():
        tokens = injection.tokens(codes)
        wanted = injection.read(codes).unflatten(1, (3, 8)) + injection.positions
        absent = injection.tokens(codes, torch.tensor([True, False]))
    torch.testing.assert_close(tokens, wanted)
    torch.testing.assert_close(absent[:1], injection.no_expression(1))
    torch.testing.assert_close(absent[1], tokens[1])
    # every token may know all of the code, which cut ones cannot
    changed = codes.clone()
    changed[:, 0] += 1
    with torch.no_grad():
        assert ((injection.tokens(changed) - tokens).abs().amax(2) > 0).all()
        cut = MotionInjection((("here", 16, 4),), tokens=3, token_dim=8, heads=2, norm_num_groups=4)
        long = torch.randn(1, 24)
        torch.testing.assert_close(cut.tokens(long), long.unflatten(1, (3, 8)) + cut.positions)


def test_a_fresh_encoder_moves_no_keypoints_and_reads_them_linearly() -> None:
    encoder = FaceExpressionEncoder(code=12)
    codes = torch.randn(3, 12)
    assert torch.equal(encoder.moved(codes), torch.zeros(3, 70, 3))
    torch.nn.init.normal_(encoder.keypoints.weight)
    torch.testing.assert_close(encoder.moved(2 * codes), 2 * encoder.moved(codes))


def test_an_expression_attention_that_knows_places_tells_equal_features_apart() -> None:
    torch.manual_seed(0)
    hidden, tokens = torch.ones(1, 8, 4, 4), torch.randn(1, 3, 16)
    for side, differ in ((None, False), (4, True)):
        attention = ExpressionAttention(8, 2, 16, 4, side)
        torch.nn.init.normal_(attention.proj_out.weight)
        told = attention(hidden, tokens) - hidden
        assert told.shape == hidden.shape and bool((told.flatten(2).std(2) > 1e-4).any()) == differ
    assert attention(torch.ones(1, 8, 2, 2), tokens).shape == (1, 8, 2, 2), "of smaller windows too"
