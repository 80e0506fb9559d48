"""Images in the network: what the head sees, what its losses are, and that text does not notice them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import CODES, GRID, continuation, image_rows, vision
from support.networks import PATCHED, network, scattered, whole
from support.text import close, forward, prose, rows

from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.images.parts import standardised
from neat.model.losses import byte_loss, code_loss, objective, token_discrepancy
from neat.model.neat import NeatModel
from neat.model.outputs import Outputs

WIRINGS = list(PATCHED)[::3]
DOCUMENT = (b"the river", (0, 1, 2, 3), b" said: ", (4, 4, 1, 0), b"down", (2, 2, 0, 1))
LENGTH = 9 + 7 + 4 + 3 * (GRID * GRID + 2)


def outputs(model: NeatModel, batch: Batch) -> Outputs:
    with torch.no_grad():
        return model.outputs(batch)


def image_logits(model: NeatModel, batch: Batch) -> torch.Tensor:
    logits = outputs(model, batch).image_logits
    assert logits is not None
    return logits


def test_the_test_rows_are_what_they_should_be() -> None:
    """The codes of an image are patches of one position."""
    batch = image_rows(network(), [[DOCUMENT]], 64)
    assert int((batch.document >= 0).sum()) == LENGTH
    assert batch.codes is not None and batch.cell is not None and batch.code_targets is not None
    in_codes = batch.codes[0] >= 0
    assert bool((batch.patch_length[0, batch.patch[0][in_codes]] == 1).all())
    for q in range(LENGTH):
        slot = int(batch.read[0, q])
        assert int(batch.patch_last[0, slot]) <= q
    # Where a code is predicted, the patch ends with the symbol before it.
    assert batch.code_targets[0][batch.code_targets[0] >= 0].tolist() == [0, 1, 2, 3, 4, 4, 1, 0, 2, 2, 0, 1]
    assert batch.cell[0][in_codes].tolist() == [0, 1, 2, 3] * 3


# Losses


def problem(seed: int, num: int = 7, codes: int = 6, width: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, num, codes, generator=generator, dtype=torch.float64)
    targets = torch.randint(codes, (1, num), generator=generator)
    targets[0, ::3] = IGNORED_TARGET
    return logits, targets, torch.rand(codes, width, generator=generator, dtype=torch.float64)


def distances(codebook: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of all pairs, by hand, divided by its own mean."""
    table = torch.stack([torch.stack([((one - two) ** 2).mean() for two in codebook]) for one in codebook])
    return table / table.mean()


@pytest.mark.parametrize("seed", range(5))
def test_discrepancy_is_the_expected_distance(seed: int) -> None:
    logits, targets, codebook = problem(seed)
    expected = sum(
        (distances(codebook)[target] * logits[0, slot].softmax(0)).sum()
        for slot, target in enumerate(targets[0].tolist())
        if target >= 0
    )
    found = token_discrepancy(logits, targets, standardised(codebook))
    assert float(found) == pytest.approx(float(expected), abs=1e-12)


def test_the_gradient_of_discrepancy_has_a_closed_form() -> None:
    """`P * (S - E_P S)`: probability moves towards near codes."""
    logits, targets, codebook = problem(1)
    logits.requires_grad_()
    token_discrepancy(logits, targets, standardised(codebook)).backward()
    for slot, target in enumerate(targets[0].tolist()):
        probability = logits[0, slot].detach().softmax(0)
        row = distances(codebook)[max(target, 0)]
        expected = probability * (row - (probability * row).sum()) * (target >= 0)
        assert logits.grad is not None
        assert close(logits.grad[0, slot], expected)


def test_discrepancy_by_differences() -> None:
    logits, targets, codebook = problem(2)
    entries = standardised(codebook)
    assert torch.autograd.gradcheck(lambda x: token_discrepancy(x, targets, entries), (logits.requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_certain_right_answer_has_no_discrepancy(dtype: torch.dtype) -> None:
    _, targets, codebook = problem(3)
    logits = torch.full((1, 7, 6), -1e4, dtype=dtype)
    logits.scatter_(2, targets.clamp(min=0)[..., None], 0.0)
    entries = standardised(codebook).to(dtype)
    assert abs(float(token_discrepancy(logits, targets, entries))) < 1e-5 if dtype == torch.float32 else 1e-13
    wrong = logits.roll(1, dims=2)
    assert float(token_discrepancy(wrong, targets, entries)) > 0.1


def test_guessing_costs_one_per_code() -> None:
    codebook = problem(4)[2]
    targets = torch.arange(6)[None]
    uniform = torch.zeros(1, 6, 6, dtype=torch.float64)
    assert float(token_discrepancy(uniform, targets, standardised(codebook))) == pytest.approx(6)


@given(st.permutations(range(6)), st.floats(0.01, 100), st.floats(-5, 5))
@settings(max_examples=25)
def test_discrepancy_depends_on_neither_the_order_nor_the_units_of_codes(
    order: list[int], scale: float, shift: float
) -> None:
    logits, targets, codebook = problem(5)
    index = torch.tensor(order)
    moved = torch.where(targets >= 0, index.argsort()[targets.clamp(min=0)], targets)
    again = token_discrepancy(logits[..., index], moved, standardised(codebook[index] * scale + shift))
    assert float(again) == pytest.approx(float(token_discrepancy(logits, targets, standardised(codebook))), rel=1e-6)


def test_the_codebook_gets_no_gradient() -> None:
    logits, targets, codebook = problem(6)
    codebook.requires_grad_()
    token_discrepancy(logits.requires_grad_(), targets, standardised(codebook)).backward()
    assert codebook.grad is None


def test_the_objective_is_the_weighted_sum_of_its_parts() -> None:
    shape = network()
    images = vision(loss_weight=0.7, discrepancy_weight=0.3)
    model = scattered(shape, vision=images)
    batch = image_rows(shape, [[DOCUMENT], [(b"x", (1, 1, 1, 1), b"y"), (b"?",)]], 64)
    found = outputs(model, batch)
    total, parts = objective(found, batch, whole(shape, vision=images))
    assert found.image_logits is not None and found.codebook is not None and batch.code_targets is not None
    image = code_loss(found.image_logits, batch.code_targets)
    by_hand = -sum(
        found.image_logits[index].log_softmax(0)[batch.code_targets[index]]
        for index in zip(*(batch.code_targets >= 0).nonzero(as_tuple=True), strict=True)
    )
    assert close(image, by_hand)
    discrepancy = token_discrepancy(found.image_logits, batch.code_targets, found.codebook)
    assert close(total, byte_loss(found.logits, batch.targets) + 0.7 * image + 0.3 * discrepancy)
    assert close(parts["image"], image) and close(parts["discrepancy"], discrepancy)
    assert int(parts["codes"]) == 16


def test_without_images_their_losses_are_exactly_zero() -> None:
    shape = network()
    model = scattered(shape, vision=vision())
    batch = image_rows(shape, [[(prose(1, 5),)]], 64)
    total, parts = objective(outputs(model, batch), batch, whole(shape, vision=vision()))
    assert float(parts["image"]) == float(parts["discrepancy"]) == int(parts["codes"]) == 0
    assert torch.equal(total, parts["byte"])
    total, parts = objective(model.outputs(batch), batch, whole(shape, vision=vision()))
    total.backward()
    assert all(p.grad is None or bool(p.grad.to_dense().isfinite().all()) for p in model.parameters())


# The network


@pytest.mark.parametrize("name", WIRINGS)
def test_text_does_not_notice_that_images_are_on(name: str) -> None:
    """Same weights, no image in the batch: the inputs are equal bit for bit, the bytes' logits up to the rounding of a
    product with one more row, and the one more class is all that is new."""
    shape = PATCHED[name]
    with_images = scattered(shape, vision=vision())
    plain = NeatModel(whole(shape)).double()
    weights = {key: value for key, value in with_images.state_dict().items() if not key.startswith("vision.")}
    weights["head.weight"] = weights["head.weight"][:256]
    plain.load_state_dict(weights)
    texts = [prose(3, 8)[:50], prose(4, 5)]
    batch = rows(shape, texts, 64)
    blank = torch.full_like(batch.ids, -1)
    empty = torch.full_like(batch.patch_first, IGNORED_TARGET)
    imageless = Batch(**{**_fields(batch), "codes": blank, "cell": blank, "code_targets": empty})
    for candidate in (batch, imageless):
        assert torch.equal(with_images.embed(candidate), plain.embed(batch))
        logits = forward(with_images, candidate)
        assert logits.shape[-1] == 257
        assert close(logits[..., :256], forward(plain, batch))


def _fields(batch: Batch) -> dict[str, torch.Tensor | None]:
    return {name: getattr(batch, name) for name in batch.__dataclass_fields__}


def test_off_has_no_image_parts() -> None:
    model = NeatModel(whole(network()))
    assert not [name for name, _ in model.named_parameters() if name.startswith("vision")]
    assert model.head.weight.shape[0] == 256


def test_the_codebook_is_the_palette_and_is_not_trained() -> None:
    first, second = (NeatModel(whole(network(), vision=vision())) for _ in range(2))
    assert first.vision is not None and second.vision is not None
    assert torch.equal(first.vision.codec.codebook, second.vision.codec.codebook)
    assert not [name for name, p in first.named_parameters() if name.startswith("vision.codec") and p.requires_grad]
    assert any(name == "vision.codec.codebook" for name in first.state_dict())


@pytest.mark.parametrize("name", WIRINGS)
def test_every_trained_parameter_gets_a_gradient(name: str) -> None:
    shape = PATCHED[name]
    model = scattered(shape, vision=vision())
    batch = image_rows(shape, [[DOCUMENT]], 64)
    objective(model.outputs(batch), batch, whole(shape, vision=vision()))[0].backward()
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    silent = [name for name, p in trained if p.grad is None or not p.grad.to_dense().any()]
    assert not silent


@pytest.mark.parametrize("name", WIRINGS)
def test_later_codes_and_bytes_change_no_earlier_prediction(name: str) -> None:
    shape = PATCHED[name]
    model = scattered(shape, vision=vision())
    base = list(DOCUMENT)
    batch = image_rows(shape, [[base]], 64)
    logits, codes = outputs(model, batch).logits, image_logits(model, batch)
    at = 0
    for index, part in enumerate(base):
        size = len(part) if isinstance(part, bytes) else len(part) + 2
        for inside in range(len(part)):
            changed = list(base)
            if isinstance(part, bytes):
                changed[index] = part[:inside] + bytes([part[inside] ^ 1]) + part[inside + 1 :]
                symbol = at + inside
            else:
                changed[index] = (*part[:inside], (part[inside] + 1) % CODES, *part[inside + 1 :])
                symbol = at + inside + 1
            other = image_rows(shape, [[changed]], 64)
            # Position q reads symbols before q; a patch that is closed at q has seen no more than that.
            assert close(outputs(model, other).logits[0, : symbol + 1], logits[0, : symbol + 1])
            slot = int(batch.read[0, symbol])
            assert close(image_logits(model, other)[0, : slot + 1], codes[0, : slot + 1])
            if symbol + 1 < LENGTH - 1:
                assert not close(outputs(model, other).logits[0, symbol + 1 : LENGTH], logits[0, symbol + 1 : LENGTH])
        at += size


@pytest.mark.parametrize("name", WIRINGS)
def test_nothing_tells_of_an_image_before_it_begins(name: str) -> None:
    shape = PATCHED[name]
    model = scattered(shape, vision=vision())
    for length in range(1, 9):
        text = b"the river"[:length]
        batch = image_rows(shape, [[(text, (0, 1, 2, 3), b"x")], [(text, b"and so on")]], 64)
        with_image, without = outputs(model, batch).logits
        assert close(with_image[: length + 1], without[: length + 1])
        assert not close(with_image[length + 1], without[length + 1])


@pytest.mark.parametrize("name", WIRINGS)
def test_packed_documents_with_images_do_not_see_each_other(name: str) -> None:
    shape = PATCHED[name]
    model = scattered(shape, vision=vision())
    second = (b"keeper", (3, 0, 1, 4), b" walked")
    pairs = [[(b"tide ", (0, 1, 2, 3)), second], [(b"stone", (4, 4, 4, 4)), second]]
    batch = image_rows(shape, pairs, 64)
    found = outputs(model, batch)
    assert found.image_logits is not None
    start = 5 + GRID * GRID + 2
    mine = batch.patch_document[0] == 1
    assert torch.equal(found.logits[0, start : start + 19], found.logits[1, start : start + 19])
    assert torch.equal(found.image_logits[0, mine], found.image_logits[1, mine])
    assert not torch.equal(found.logits[0, 2:start], found.logits[1, 2:start])


@pytest.mark.parametrize("name", WIRINGS)
@pytest.mark.parametrize("size", [1, 2, 7])
def test_reading_on_through_images_equals_reading_at_once(name: str, size: int) -> None:
    """Also the codes that would follow at each place, and rows of different lengths."""
    shape = PATCHED[name]
    model = scattered(shape, vision=vision())
    whole_rows = image_rows(shape, [[DOCUMENT], [(b"stone ", (3, 3, 0, 2))]], LENGTH, stride=1)
    expected = outputs(model, whole_rows)
    assert expected.image_logits is not None
    cache = model.new_cache(2)
    with torch.no_grad():
        for start in range(0, LENGTH, size):
            end = min(start + size, LENGTH)
            logits = model.read_on(continuation(whole_rows, start, end), cache).logits
            codes = model.next_code(cache)
            for row in (0, 1):
                num = int((whole_rows.document[row, start:end] >= 0).sum())
                assert close(logits[row, :num], expected.logits[row, start : start + num], 1e-9)
                if num:
                    assert close(codes[row], expected.image_logits[row, start + num - 1], 1e-9)


def test_image_logits_are_over_codes_only() -> None:
    """No weight of the byte head reaches them, and none of the image head reaches the bytes."""
    shape = network()
    model = scattered(shape, vision=vision())
    batch = image_rows(shape, [[DOCUMENT]], 64)
    before = outputs(model, batch)
    with torch.no_grad():
        model.head.weight.mul_(-3)
    after = outputs(model, batch)
    assert before.image_logits is not None and after.image_logits is not None
    assert before.image_logits.shape == (1, 65, CODES)
    assert torch.equal(before.image_logits, after.image_logits)
    with torch.no_grad():
        assert model.vision is not None
        for parameter in model.vision.head.parameters():
            parameter.mul_(-3)
    assert torch.equal(outputs(model, batch).logits, after.logits)


def test_the_same_image_is_seen_alike_and_cells_are_told_apart() -> None:
    shape = network(smear=False)
    model = scattered(shape, vision=vision())
    batch = image_rows(shape, [[((1, 1, 1, 1), b"a", (1, 1, 1, 1), b"b")]], 64)
    x = model.embed(batch)[0].detach()
    first, second = x[2:6], x[9:13]
    assert torch.equal(first, second)
    assert len({tuple(row) for row in first.tolist()}) == 4


def test_a_fresh_head_knows_nothing() -> None:
    shape = network()
    model = NeatModel(whole(shape, vision=vision()))
    batch = image_rows(shape, [[DOCUMENT]], 64)
    _, parts = objective(outputs(model, batch), batch, whole(shape, vision=vision()))
    assert float(parts["image"] / parts["codes"]) == pytest.approx(math.log(CODES), rel=1e-5)


def test_bfloat16_gives_float32_logits() -> None:
    shape = network()
    model = NeatModel(whole(shape, vision=vision()))
    batch = image_rows(shape, [[DOCUMENT]], 64)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        found = model.outputs(batch)
    assert found.image_logits is not None and found.image_logits.dtype == torch.float32
