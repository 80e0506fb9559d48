"""Scaled singular values: exact at z = 1, equal to the merged matrix, with the gradient of the formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.networks import NETWORKS, network, scattered, whole
from support.text import forward, prose, rows

from neat.config.schema import Expert
from neat.errors import CheckpointError
from neat.model.experts.decomposition import decompose, digest
from neat.model.experts.svf import AdaptedLinear
from neat.model.experts.vectors import mixed
from neat.model.neat import NeatModel
from neat.optim.groups import group_parameters

TEXT = prose(5, 12)[:60]
EXPERTS = Expert(count=3, dispatcher_width=5)


def layer(outputs: int = 7, inputs: int = 11) -> AdaptedLinear:
    adapted = AdaptedLinear(inputs, outputs).double()
    adapted.factorise(None)
    return adapted


def adapted_model(seed: int = 0, **changes: object) -> NeatModel:
    model = scattered(network(**changes), seed, expert=EXPERTS)
    with torch.no_grad():
        assert model.experts is not None
        model.experts.vectors.zero_()
    return model


def test_the_adapted_matrix_is_that_of_scaled_singular_values() -> None:
    adapted, x = layer(), torch.randn(2, 3, 11, dtype=torch.float64)
    left, singular, right = torch.linalg.svd(adapted.weight.detach(), full_matrices=False)
    z = torch.rand(7, dtype=torch.float64) * 2
    expected = x @ (left @ torch.diag(singular * z) @ right).T
    adapted.offsets = z - 1
    torch.testing.assert_close(adapted(x), expected, rtol=0, atol=1e-12)


def test_each_row_has_the_matrix_of_its_own_vector() -> None:
    adapted, x = layer(), torch.randn(4, 3, 11, dtype=torch.float64)
    offsets = torch.randn(4, 7, dtype=torch.float64)
    adapted.offsets = offsets
    together = adapted(x)
    adapted.offsets = None
    for row in range(4):
        adapted.merge(offsets[row])
        torch.testing.assert_close(together[row], adapted(x[row]), rtol=0, atol=1e-12)
        adapted.unmerge()


def test_the_gradient_is_that_of_the_formula() -> None:
    """dL/dz_i = sigma_i u_i' (dL/dW') v_i."""
    adapted, x = layer(), torch.randn(5, 11, dtype=torch.float64)
    offsets = torch.randn(7, dtype=torch.float64, requires_grad=True)
    adapted.offsets = offsets
    (mine,) = torch.autograd.grad(adapted(x).square().sum(), offsets)
    assert adapted.left is not None and adapted.singular is not None and adapted.right is not None
    matrix = (adapted.left * (adapted.singular * (1 + offsets.detach()))) @ adapted.right
    matrix.requires_grad_()
    (to_matrix,) = torch.autograd.grad((x @ matrix.T).square().sum(), matrix)
    formula = adapted.singular * torch.einsum("mr,mn,rn->r", adapted.left, to_matrix, adapted.right)
    torch.testing.assert_close(mine, formula, rtol=1e-10, atol=1e-10)


def test_merging_and_unmerging_never_touches_the_weight() -> None:
    adapted = AdaptedLinear(30, 20)
    adapted.factorise(None)
    before, x = adapted.weight.detach().clone(), torch.randn(3, 30)
    output = adapted(x)
    adapted.merge(torch.randn(20))
    assert not torch.allclose(adapted(x), output)
    adapted.unmerge()
    assert torch.equal(adapted.weight, before) and torch.equal(adapted(x), output)


@pytest.mark.parametrize(
    "name", ["last_mean-add-conv-conv", "cross_attention-cross_attention-attention-attention", "flat"]
)
def test_a_vector_of_ones_changes_no_bit(name: str) -> None:
    shape = NETWORKS[name]
    torch.manual_seed(3)
    model = NeatModel(whole(shape, expert=EXPERTS)).eval()
    torch.manual_seed(3)
    plain = NeatModel(whole(shape)).eval()
    batch = rows(shape, [TEXT, TEXT[::-1]], 64)
    base = forward(plain, batch)
    assert torch.equal(forward(model, batch), base)
    assert model.experts is not None
    with model.experts.applied(torch.zeros(model.experts.size)):
        assert torch.equal(forward(model, batch), base)
    with model.experts.applied(torch.zeros(2, model.experts.size)):
        assert torch.equal(forward(model, batch), base)


def test_the_parameters_are_those_of_a_model_without_experts_and_three_more() -> None:
    model, plain = NeatModel(whole(network(), expert=EXPERTS)), NeatModel(whole(network()))
    extra = model.state_dict().keys() - plain.state_dict().keys()
    assert extra == {"experts.vectors", "experts.dispatcher.hidden", "experts.dispatcher.choice"}
    assert plain.state_dict().keys() <= model.state_dict().keys()
    assert model.experts is not None
    # Two layers with two matrices of rank 16 each.
    assert model.experts.vectors.shape == (3, 4 * 16) and not model.experts.vectors.any()


def test_base_training_leaves_experts_alone() -> None:
    model = NeatModel(whole(network(), expert=EXPERTS))
    groups = group_parameters(model)
    trained = [m.name for m in groups.hidden] + [name for name, _ in (*groups.other, *groups.sparse)]
    assert not [name for name in trained if name.startswith("experts.")]
    assert "latent.layers.0.attention.out.weight" in {m.name for m in groups.hidden}
    assert len(trained) == len(dict(model.named_parameters())) - 3


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_after_an_expert_the_model_is_the_base_again(error: type[Exception] | None) -> None:
    model, batch = adapted_model(), rows(network(), [TEXT], 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    base = forward(model, batch)
    assert model.experts is not None
    offsets = torch.randn(model.experts.size, dtype=torch.float64) * 0.3
    try:
        with model.experts.applied(offsets):
            other = forward(model, batch)
            if error is not None:
                raise error
    except RuntimeError:
        pass
    assert not torch.allclose(other, base)
    assert torch.equal(forward(model, batch), base)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_mixed_network_equals_a_model_with_adapted_weights_and_shares_the_rest() -> None:
    model, batch = adapted_model(), rows(network(), [TEXT], 64)
    assert model.experts is not None
    base, offsets = forward(model, batch), torch.randn(model.experts.size, dtype=torch.float64) * 0.3
    twin = mixed(model, offsets)
    fresh = adapted_model()
    assert fresh.experts is not None
    with torch.no_grad():
        for site, part in zip(fresh.experts.sites, fresh.experts.split(offsets), strict=True):
            left, singular, right = torch.linalg.svd(site.weight, full_matrices=False)
            site.weight.copy_(left @ torch.diag(singular * (1 + part)) @ right)
    expected = forward(fresh, batch)
    torch.testing.assert_close(forward(twin, batch), expected, rtol=0, atol=1e-9)
    with model.experts.applied(offsets):
        torch.testing.assert_close(forward(model, batch), expected, rtol=0, atol=1e-9)
    assert torch.equal(forward(model, batch), base)
    addresses = {tensor.data_ptr() for tensor in model.parameters()}
    assert {tensor.data_ptr() for tensor in twin.parameters()} == addresses


def test_a_batch_of_mixtures_equals_each_on_its_own() -> None:
    model = adapted_model()
    assert model.experts is not None
    offsets = torch.randn(3, model.experts.size, dtype=torch.float64) * 0.3
    texts = [TEXT, prose(6)[:60], prose(7)[:50]]
    together = forward(mixed(model, offsets), rows(network(), texts, 64))
    for row, text in enumerate(texts):
        alone = forward(mixed(model, offsets[row]), rows(network(), [text], 64))
        torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-9)


def test_only_the_vector_gets_a_gradient() -> None:
    model, batch = adapted_model().requires_grad_(False), rows(network(), [TEXT], 64)
    assert model.experts is not None
    offsets = torch.zeros(model.experts.size, dtype=torch.float64, requires_grad=True)
    with model.experts.applied(offsets):
        model(batch).square().sum().backward()
    assert offsets.grad is not None and bool((offsets.grad != 0).all())
    assert all(parameter.grad is None for parameter in model.parameters())
    factors = [site.left for site in model.experts.sites] + [site.right for site in model.experts.sites]
    assert not any(factor is None or factor.requires_grad for factor in factors)
    assert offsets.numel() == sum(min(site.weight.shape) for site in model.experts.sites)


def test_mixtures_add_offsets() -> None:
    model = adapted_model()
    experts = model.experts
    assert experts is not None
    one, two = torch.randn(2, experts.size, dtype=torch.float64)
    for name, offsets in (("one", one), ("two", two)):
        experts.add(name, offsets)
    assert torch.equal(experts.mixture({"one": 1.0}), one)
    z = 0.25 * (1 + one) + 0.75 * (1 + two)
    torch.testing.assert_close(1 + experts.mixture({"one": 0.25, "two": 0.75}), z, rtol=0, atol=1e-14)
    experts.add("one", two)
    assert experts.names == ["one", "two"] and torch.equal(experts.mixture({"one": 1.0}), two)
    for name in ("three", "four"):
        experts.add(name, one)
    assert experts.vectors.shape[0] == 4 and torch.equal(experts.mixture({"four": 2.0}), 2 * one)


def test_factors_are_read_from_the_cache_and_equal(tmp_path: Path) -> None:
    weight = torch.randn(256, 300)
    fresh, again = decompose(weight, tmp_path), decompose(weight, tmp_path)
    assert (fresh.cached, again.cached) == (False, True)
    for name in ("left", "singular", "right"):
        assert torch.equal(getattr(fresh, name), getattr(again, name))
    assert fresh.error == again.error < 1e-5
    assert not decompose(weight + 1e-3, tmp_path).cached
    assert not decompose(torch.randn(8, 8), tmp_path).cached and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["garbage", "values", "stale"])
def test_a_cache_that_cannot_be_believed_is_made_anew(tmp_path: Path, damage: str) -> None:
    weight = torch.randn(256, 256)
    right = decompose(weight, tmp_path)
    (path,) = tmp_path.iterdir()
    if damage == "garbage":
        path.write_bytes(b"garbage")
    elif damage == "values":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    else:
        other = decompose(torch.randn(256, 256), tmp_path / "other")
        (stale,) = (tmp_path / "other").iterdir()
        stale.rename(path)
        assert not torch.equal(other.singular, right.singular)
    found = decompose(weight, tmp_path)
    assert not found.cached and torch.equal(found.singular, right.singular)
    assert safetensors.torch.load_file(path)["singular"].equal(right.singular)


def test_a_cache_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    weight = torch.randn(256, 256)
    assert decompose(weight, tmp_path / "file").error < 1e-5


def test_numbers_that_are_not_finite_have_no_factors() -> None:
    with pytest.raises(CheckpointError, match="not finite"):
        decompose(torch.full((3, 3), float("nan")), None)


def test_factors_follow_a_changed_weight() -> None:
    adapted = layer()
    assert adapted.factorise(None) is None
    with torch.no_grad():
        adapted.weight.mul_(2)
    found = adapted.factorise(None)
    assert found is not None and found.error < 1e-12


def test_digests_tell_types_and_shapes_apart() -> None:
    x = torch.zeros(4)
    assert len({digest(x), digest(x.view(2, 2)), digest(x.double()), digest(x, x), digest(x + 1)}) == 5
