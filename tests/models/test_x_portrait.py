"""X-Portrait's networks: what they read, what they share, what they leave alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional

from mien.models.sd_backbone.reference_attention import ReferenceRecorder
from mien.models.sd_backbone.temporal import TemporalModules
from mien.models.x_portrait import NANO, SD15, ReferenceFeatures, build
from tiny import TINY, tiny_networks

T = torch.tensor(301)


@pytest.fixture(scope="module")
def nets():
    return tiny_networks()


def latents(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, 32, 32, generator=torch.Generator().manual_seed(seed))


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_unconditional_without_temporal_is_plain_stable_diffusion(nets) -> None:
    plain = UNet2DConditionModel(**TINY.unet()).eval()
    plain.load_state_dict(nets.unet.state_dict())
    alone = dataclasses.replace(nets, temporal=None)
    context = nets.empty_prompt().expand(3, -1, -1)
    with torch.no_grad():
        want = plain(latents(3), T, encoder_hidden_states=context).sample
        got = alone.predict(latents(3), T, 3)
    assert torch.allclose(got, want, atol=1e-5)


def test_bank_gives_what_concatenated_tokens_give(nets) -> None:
    bank = nets.read_appearance([latents(1), latents(1, 5)], T)
    layer, tokens = next(iter(bank.tokens.items()))
    attention = nets.unet.get_submodule(layer.removesuffix(".processor"))
    hidden = torch.randn(2, 7, tokens.shape[-1])
    got = attention(hidden, reference=bank)
    both = torch.cat([hidden, tokens.expand(2, -1, -1)], dim=1)

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)

    q, k, v = heads(attention.to_q(hidden)), heads(attention.to_k(both)), heads(attention.to_v(both))
    want = attention.to_out[0](functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    assert torch.allclose(got, want, atol=1e-5)
    assert tokens.shape[1] == 2 * 32 * 32


def test_per_frame_reference_equals_shared_where_frames_agree(nets) -> None:
    one = nets.read_appearance([latents(1)], T)
    many = nets.read_appearance([latents(1).expand(4, -1, -1, -1)], T)
    noisy = latents(4, 3)
    assert torch.allclose(nets.predict(noisy, T, 4, one), nets.predict(noisy, T, 4, many), atol=1e-4)
    picked = many.select(torch.tensor([1, 3]))
    assert {len(tokens) for tokens in picked.tokens.values()} == {2}


def test_frames_must_share_out_evenly(nets) -> None:
    bank = nets.read_appearance([latents(3)], T)
    with pytest.raises(ValueError, match="cannot be shared"):
        nets.predict(latents(4), T, 4, bank)


def test_every_input_moves_the_output(nets) -> None:
    noisy, bank = latents(2), nets.read_appearance([latents(1, 1)], T)
    hints = nets.read_motion(images(2), images(2, 1))
    base = nets.predict(noisy, T, 2, bank, hints)
    others = [
        nets.predict(noisy, T, 2, bank),
        nets.predict(noisy, T, 2, None, hints),
        nets.predict(noisy, torch.tensor(302), 2, bank, hints),
        nets.predict(noisy, T, 2, bank, nets.read_motion(images(2, 4), images(2, 1))),
        nets.predict(noisy, T, 2, bank, nets.read_motion(images(2), images(2, 4))),
        nets.predict(noisy, T, 1, bank, hints),
    ]
    assert all((base - other).abs().max() > 1e-4 for other in others)


def test_temporal_modules_start_as_identity_and_know_the_frame_order() -> None:
    modules = TemporalModules(**TINY.temporal())
    hidden = torch.randn(4, 16, 6, 6)
    assert torch.equal(modules(hidden, 4, "down", 0), hidden)
    torch.nn.init.normal_(modules.down[0].proj_out.weight)
    got = modules(hidden, 4, "down", 0)
    swapped = modules(hidden[[1, 0, 2, 3]], 4, "down", 0)[[1, 0, 2, 3]]
    assert (got - swapped).abs().max() > 1e-3
    apart = modules(hidden, 2, "down", 0)
    assert not torch.allclose(got, apart)


def test_nano_reads_the_source_on_its_first_convolution() -> None:
    config = dataclasses.replace(TINY, source_in_sample=True)
    nets = tiny_networks(config)
    noisy = latents(2)
    assert nets.unet.reads_source
    assert not torch.allclose(nets.predict(noisy, T, 2), nets.predict(noisy, T, 2, source=latents(1, 7)))


@pytest.mark.parametrize("config", [SD15, NANO])
def test_presets_are_the_same_classes(config) -> None:
    with torch.device("meta"):
        big, tiny = build(config), build(TINY)
    assert [type(getattr(big, f.name)) for f in dataclasses.fields(big)] == [
        type(getattr(tiny, f.name)) for f in dataclasses.fields(tiny)
    ]


def test_an_empty_bank_is_not_a_reference() -> None:
    assert ReferenceFeatures().tokens == {}


def test_a_reference_without_its_tail_reads_the_same_tokens() -> None:
    torch.manual_seed(0)
    whole = build(dataclasses.replace(TINY, attention_levels=(False, True))).appearance_reference.eval()
    small = dataclasses.replace(TINY, attention_levels=(False, True), reference_tail=False)
    bare = build(small).appearance_reference.eval()
    kept = {name: value for name, value in whole.state_dict().items() if name in bare.state_dict()}
    assert len(kept) == len(bare.state_dict()) < len(whole.state_dict())
    bare.load_state_dict(kept)
    tokens = []
    for network in (whole, bare):
        recorder = ReferenceRecorder()
        with torch.no_grad():
            network(torch.ones(1, 4, 32, 32), torch.tensor(10), torch.ones(1, 3, 8), recorder)
        tokens.append(recorder.tokens)
    assert tokens[0].keys() == tokens[1].keys()
    assert all(torch.equal(tokens[0][layer], tokens[1][layer]) for layer in tokens[0])
