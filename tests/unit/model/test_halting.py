"""Halting: who goes on, what is computed, what the head learns from, and that it comes to tell easy from hard."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.networks import NETWORKS, network, scattered, whole
from support.text import forward, prose, rows
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neat.config.schema import Config, Recursion
from neat.model.active import Active
from neat.model.batch import Batch
from neat.model.halting import ALIKE, HIDDEN, Halting, SameDepth, halting_losses
from neat.model.losses import byte_loss, objective
from neat.model.neat import NeatModel
from neat.profiling.plan import plan

TEXT = prose(5, 12)[:60]
OTHER = prose(6, 12)[:50]
WIRINGS = ["flat", "flat-windowed-grouped", "last_mean-add-attention-attention", "cross_attention-add-conv-conv"]
DEPTH = 4


def settings(**changes: Any) -> Recursion:
    return Recursion.model_validate({"depth": DEPTH, "halting": True, **changes})


def halting_model(name: str = "flat", **changes: Any) -> tuple[NeatModel, Config, Batch]:
    shape, recursion = NETWORKS[name], settings(**changes)
    model = scattered(shape, recursion=recursion)
    return model, whole(shape, recursion=recursion), rows(shape, [TEXT, OTHER], 64)


def head(model: NeatModel) -> Halting:
    assert model.latent.halting is not None
    return model.latent.halting


@pytest.mark.parametrize("name", WIRINGS)
def test_leaving_halted_positions_out_changes_nothing(name: str) -> None:
    """Computing all positions and dropping the halted ones is another way to the same result."""
    model, _, batch = halting_model(name)
    gathered = model.outputs(batch)
    model.latent.skips_halted = False
    masked = model.outputs(batch)
    assert gathered.depth is not None and masked.depth is not None
    assert len(set(gathered.depth.unique().tolist()) - {0}) > 2
    assert torch.equal(gathered.depth, masked.depth)
    for left, right in zip((gathered.logits, *gathered.earlier), (masked.logits, *masked.earlier), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-12)
    gradients = []
    for outputs in (gathered, masked):
        model.zero_grad()
        byte_loss(outputs.logits, batch.targets).backward()
        gradients.append(model.latent.layers[0].attention.qkv.weight.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_equals_a_loop_over_positions() -> None:
    """Every key and value comes from its own position's last application; positions are computed one by one."""
    shape = network(patches=False, layers=2, heads=1, kv_heads=1, width=8, window=0, qk_norm=False, rope_theta=1e9)
    model = scattered(shape, recursion=settings())
    batch = rows(shape, [TEXT[:20]], 20, "byte")
    with torch.no_grad():
        x = model.embedding(batch)
        found = model.latent(x, batch.document)
        state = slow(model, x[0])
    assert found.depth is not None and len(found.depth.unique()) > 1
    # The rotation turns by less than 20 / 1e9 in all but the first of four pairs, which the reference takes as well.
    torch.testing.assert_close(found.vectors[0], state, rtol=0, atol=2e-5)


def slow(model: NeatModel, x: Tensor) -> Tensor:
    """The latent transformer with halting for one document [N, D], one position at a time."""
    halting, num = head(model), len(x)
    keys: list[dict[int, Tensor]] = [{} for _ in model.latent.layers]
    values: list[dict[int, Tensor]] = [{} for _ in model.latent.layers]
    state: list[Tensor] = list(x)
    active = list(range(num))
    for application in range(DEPTH):
        if application:
            active = [i for i in active if likely(halting, state[i]) <= 0.5]
        for i in active:
            h = x[i] if application == 0 else x[i] + model.latent.injection * normed(state[i])
            h = pass_position(model, h, i, keys, values)
            state[i] = h
    return torch.stack(state)


def likely(halting: Halting, state: Tensor) -> Tensor:
    return torch.sigmoid(F.silu(halting.hidden.weight @ normed(state)) @ halting.weight + halting.bias)


def pass_position(model: NeatModel, h: Tensor, i: int, keys: list[Any], values: list[Any]) -> Tensor:
    for layer, key, value in zip(model.latent.layers, keys, values, strict=True):
        q, key[i], value[i] = (part @ normed(h) for part in layer.attention.qkv.weight.split((8, 8, 8)))
        q, key[i] = turn(q, i), turn(key[i], i)
        weight = torch.stack([q @ key[j] for j in range(i + 1)]).div(math.sqrt(8)).softmax(0)
        h = h + layer.attention.out.weight @ sum(w * value[j] for j, w in enumerate(weight))
        gate, up = (layer.feed_forward.gate_up.weight @ normed(h)).chunk(2)
        h = h + layer.feed_forward.down.weight @ (F.silu(gate) * up)
    return h


def turn(vector: Tensor, position: int) -> Tensor:
    angle = position * 1e9 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    first, second = vector.chunk(2)
    return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()))


def normed(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def test_a_halted_position_changes_no_more() -> None:
    model, _, batch = halting_model()
    latent = model.latent(model.embedding(batch), batch.document)
    states = torch.stack((*latent.earlier, latent.vectors))
    assert latent.depth is not None
    for depth in range(1, DEPTH):
        stopped = latent.depth == depth
        assert stopped.any()
        assert all(torch.equal(states[r][stopped], states[depth - 1][stopped]) for r in range(depth, DEPTH))
        going = latent.depth > depth
        assert (states[depth][going] != states[depth - 1][going]).any(-1).all()
    assert bool((latent.depth[batch.document < 0] == 0).all())


def test_work_falls_with_the_positions_that_halt() -> None:
    shape = network(patches=False, width=32, ffn_width=96)
    batch = rows(shape, [TEXT, TEXT], 60, "byte")
    counts = {}
    for depth in (1, DEPTH):
        model = scattered(shape, recursion=Recursion(depth=depth))
        counts[depth] = products(model, batch)
    model = scattered(shape, recursion=settings())
    found: list[tuple[int, int]] = []
    for bias in (20.0, 0.5, -1.0, -40.0):
        with torch.no_grad():
            head(model).bias.fill_(bias)
        depth_sum = model.outputs(batch).depth
        assert depth_sum is not None
        found.append((int(depth_sum.sum()), products(model, batch)))
    assert [depth for depth, _ in found] == sorted(depth for depth, _ in found)
    assert [count for _, count in found] == sorted(count for _, count in found)
    # All halt at once, and nobody does.
    assert (found[0][0], found[-1][0]) == (120, 120 * DEPTH)
    head_cost = 2 * 120 * 32 * HIDDEN
    assert 0 < found[0][1] - counts[1] <= 1.1 * head_cost
    assert found[-1][1] - counts[DEPTH] == pytest.approx(DEPTH * head_cost, rel=0.05)
    assert found[0][1] < found[1][1] < found[2][1] < found[-1][1]


def products(model: NeatModel, batch: Batch) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch)
    return counter.get_total_flops()


def test_every_position_gets_the_least_depth() -> None:
    model, _, batch = halting_model(min_depth=3)
    with torch.no_grad():
        head(model).bias.fill_(100.0)
    depth = model.outputs(batch).depth
    assert depth is not None
    assert set(depth[batch.document >= 0].tolist()) == {3}


@pytest.mark.parametrize("name", WIRINGS)
def test_the_head_learns_from_its_own_losses_and_they_train_nothing_else(name: str) -> None:
    model, config, batch = halting_model(name, ponder_weight=0.1, diversity_weight=0.1, diversity_target=0.25)
    outputs = model.outputs(batch)
    _, parts = objective(outputs, batch, config)
    own = sum(part for key, part in parts.items() if key in ("halting", "ponder", "diversity"))
    assert isinstance(own, Tensor)
    own.backward(retain_graph=True)
    reached = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.to_dense().any()}
    assert reached == {"latent.halting.hidden.weight", "latent.halting.weight", "latent.halting.bias"}
    model.zero_grad()
    parts["byte"].backward()
    assert all(parameter.grad is None for parameter in head(model).parameters())


@pytest.mark.parametrize("name", WIRINGS)
def test_the_losses_are_their_formulas_byte_by_byte(name: str) -> None:
    model, config, batch = halting_model(name, ponder_weight=1.0, diversity_weight=1.0, min_depth=2)
    outputs = model.outputs(batch)
    assert outputs.depth is not None
    losses = halting_losses(outputs, batch, config.recursion, patches=config.network.patches)
    cross_entropy, ponder = 0.0, 0.0
    said: list[list[float]] = [[] for _ in range(DEPTH)]
    for row in range(2):
        for q in (batch.targets[row] >= 0).nonzero().flatten().tolist():
            slot = int(batch.read[row, q]) if config.network.patches else q
            depth = int(outputs.depth[row, slot])
            survive = 1.0
            for r in range(depth):
                p = torch.sigmoid(outputs.halting[r][row, slot]).item()
                said[r].append(p)
                logits = (*outputs.earlier, outputs.logits)[r][row, q]
                right = int(logits.argmax()) == int(batch.targets[row, q])
                cross_entropy -= math.log(p if right else 1 - p) / depth
                if r < DEPTH - 1:
                    survive *= 1 - p if r + 1 >= 2 else 1.0
                    ponder += survive
    diversity = sum(
        len(some) * max(0.0, 0.05 - torch.tensor(some, dtype=torch.float64).var(unbiased=False).item())
        for some in said
        if some
    )
    assert float(losses["halting"].detach()) == pytest.approx(cross_entropy, rel=1e-5)
    assert float(losses["ponder"].detach()) == pytest.approx(ponder, rel=1e-9)
    assert float(losses["diversity"].detach()) == pytest.approx(diversity / DEPTH, rel=1e-9)


def test_a_loss_without_weight_is_left_out() -> None:
    model, config, batch = halting_model()
    _, parts = objective(model.outputs(batch), batch, config)
    assert parts.keys() == {"byte", "halting"}


def test_a_fresh_head_stops_nobody() -> None:
    shape = network()
    model = NeatModel(whole(shape, recursion=settings()))
    assert not head(model).weight.any() and head(model).bias.tolist() == [-5.0]
    batch = rows(shape, [TEXT], 64)
    depth = model.outputs(batch).depth
    assert depth is not None and set(depth[batch.patch_document >= 0].tolist()) == {DEPTH}


def test_calibration_follows_what_was_said_and_what_came_true() -> None:
    model, _, batch = halting_model(calibration_decay=0.75)
    outputs = model.outputs(batch)
    halting = head(model)
    assert halting.means is not None and outputs.depth is not None
    halting.observe(outputs, batch)
    halting.observe(outputs, batch)
    halting.calibrate()
    expected = torch.full((2, DEPTH), 0.5, dtype=torch.float64)
    for r, logits in enumerate((*outputs.earlier, outputs.logits)):
        counted = (outputs.depth > r) & (batch.targets >= 0)
        said = torch.sigmoid(outputs.halting[r])[counted].mean()
        right = (logits.argmax(-1) == batch.targets)[counted].double().mean()
        expected[:, r] = 0.75 * 0.5 + 0.25 * torch.stack((said, right))
    torch.testing.assert_close(halting.means, expected.to(halting.means.dtype), rtol=0, atol=1e-6)
    before = halting.means.clone()
    halting.observe(outputs, batch)
    halting.calibrate(accept=False)
    halting.calibrate()
    assert torch.equal(halting.means, before)


def test_calibration_moves_the_logits_by_the_difference_of_the_means() -> None:
    model, _, _ = halting_model(halt_threshold=0.3)
    halting = head(model)
    assert halting.means is not None
    halting.means.copy_(torch.tensor([[0.2] * DEPTH, [0.6] * DEPTH]))
    shift = math.log(0.6 / 0.4) - math.log(0.2 / 0.8)
    edge = math.log(0.3 / 0.7) - shift
    stopped = halting.stops(torch.tensor([[edge - 1e-3, edge + 1e-3]], dtype=torch.float64), 0)
    assert stopped.tolist() == [[False, True]]
    uncalibrated = head(halting_model(calibration_decay=0.0)[0])
    assert (
        uncalibrated.means is None
        and "latent.halting.means" not in halting_model(calibration_decay=0.0)[0].state_dict()
    )
    assert uncalibrated.stops(torch.tensor([[-1e-3, 1e-3]]), 0).tolist() == [[False, True]]


def test_metrics_are_those_of_the_scored_bytes() -> None:
    model, _, batch = halting_model()
    halting = head(model)
    assert halting.metrics() == {}
    outputs = model.outputs(batch)
    halting.observe(outputs, batch)
    halting.calibrate()
    assert outputs.depth is not None
    depth = outputs.depth[batch.targets >= 0]
    metrics = halting.metrics()
    assert metrics["halting/depth"] == pytest.approx(float(depth.double().mean()))
    shares = [metrics[f"halting/depth_{r}"] for r in range(1, DEPTH + 1)]
    assert shares == pytest.approx([float((depth == r).double().mean()) for r in range(1, DEPTH + 1)])
    assert metrics["halting/entropy"] == pytest.approx(-sum(share * math.log(share) for share in shares if share))
    assert metrics["halting/variance"] > 0 and 0 <= metrics["halting/calibration_error"] <= 1


def test_equal_depths_for_long_raise_an_alert_once() -> None:
    same = {"halting/depth": 2.0, "halting/depth_1": 0.0, "halting/depth_2": 1.0}
    mixed = {"halting/depth": 1.5, "halting/depth_1": 0.5, "halting/depth_2": 0.5}
    watch = SameDepth()
    assert not any(watch.note(same) for _ in range(ALIKE - 1))
    assert watch.note(same) and not watch.note(same)
    watch.note(mixed)
    assert not any(watch.note(same) for _ in range(ALIKE - 1))
    assert not any(SameDepth().note({"train/loss": 1.0}) for _ in range(2 * ALIKE))


def test_active_positions_are_picked_and_put_back() -> None:
    mask = torch.tensor([[True, False, True, True], [False, False, True, False]])
    active = Active.of(mask, 3)
    x = torch.arange(8.0).view(2, 4, 1)
    assert active.pick(x)[0].flatten().tolist() == [0, 2, 3]
    assert active.pick(x)[1, 0].item() == 6
    put = active.put(active.pick(x) + 100, x)
    assert torch.equal(put, torch.where(mask[..., None], x + 100, x))


def mixed_rows(generator: torch.Generator) -> Batch:
    """Rows whose even positions repeat a counter and whose odd positions are one of 16 letters at random."""
    num = 32
    letters = torch.randint(65, 81, (8, num + 1), generator=generator)
    counter = 97 + torch.arange(num + 1) // 2 % 16
    text = torch.where(torch.arange(num + 1) % 2 == 0, counter, letters)
    document = torch.zeros(8, num, dtype=torch.int32)
    unused = torch.zeros(8, num + 1, dtype=torch.int64)
    return Batch(text[:, :-1], text[:, 1:], document, unused, unused, unused.int(), unused, unused, unused.int())


def trained(**changes: Any) -> tuple[dict[str, float], Tensor]:
    """A small network after 80 steps on text that is half predictable: its metrics and the depths of a row."""
    torch.manual_seed(0)
    shape = network(patches=False, hash_orders=(), ngram_features=False, smear=False, layers=1)
    config = whole(shape, recursion=settings(depth=3, supervision=(0.3, 0.6), calibration_decay=0.9, **changes))
    model = NeatModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    generator = torch.Generator().manual_seed(1)
    for _ in range(80):
        batch = mixed_rows(generator)
        outputs = model.outputs(batch)
        total, _ = objective(outputs, batch, config)
        head(model).observe(outputs, batch)
        optimizer.zero_grad()
        (total / 256).backward()
        optimizer.step()
        head(model).calibrate()
    depth = model.outputs(mixed_rows(generator)).depth
    assert depth is not None
    return head(model).metrics(), depth


def test_easy_positions_stop_and_hard_ones_go_on() -> None:
    metrics, depth = trained()
    # Position i predicts i + 1: the counter stands at even places.
    easy, hard = depth[:, 9::2].double().mean(), depth[:, 8::2].double().mean()
    assert float(easy) < 1.6 and float(hard) > 2.4
    shares = [metrics[f"halting/depth_{r}"] for r in (1, 2, 3)]
    assert max(shares) < 0.75 and metrics["halting/entropy"] > 0.3
    assert metrics["halting/calibration_error"] < 0.1


def test_the_head_soon_ranks_states_that_are_mostly_alike() -> None:
    """15 % of the states lean a little to one side of what they share; after 100 steps they are told apart.

    A linear head has only begun to by then: its weights grow along what is shared, to make up for the bias.
    """
    torch.manual_seed(0)
    halting = head(NeatModel(whole(network(patches=False, width=32, ffn_width=96), recursion=settings())))
    generator = torch.Generator().manual_seed(0)
    side = 0.3 * torch.randn(32, generator=generator)
    optimizer = torch.optim.Adam(halting.parameters(), lr=3e-3)
    for _ in range(100):
        right = torch.rand(512, generator=generator) < 0.85
        states = 1 + 0.5 * torch.randn(512, 32, generator=generator) + torch.where(right, 0.0, 1.0)[:, None] * side
        loss = F.binary_cross_entropy_with_logits(halting(states), right.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    said = halting(states).detach()
    assert float((said[right][:, None] > said[~right]).double().mean()) > 0.9


def test_the_diversity_loss_raises_the_variance_up_to_its_target() -> None:
    model, config, batch = halting_model(diversity_weight=1.0, diversity_target=0.1, min_depth=DEPTH)
    halting = head(model)
    with torch.no_grad():
        halting.weight.mul_(0.05)
        halting.bias.zero_()
    losses, optimizer = [], torch.optim.SGD(halting.parameters(), lr=0.05)
    for _ in range(60):
        loss = halting_losses(model.outputs(batch), batch, config.recursion, patches=False)["diversity"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 0.09 * 110 and losses[-1] == 0
    outputs = model.outputs(batch)
    assert float(torch.sigmoid(outputs.halting[0])[batch.targets >= 0].var(unbiased=False).detach()) >= 0.1


def test_the_plan_of_a_network_with_halting_needs_no_values() -> None:
    config = whole(network(), recursion=settings())
    assert plan(config)["memory_bytes"]["activations"] > 0


@pytest.mark.slow
def test_the_compiled_network_halts_alike() -> None:
    model, _, batch = halting_model("flat")
    eager = forward(model, batch)
    compiled = torch.compile(model.trunk, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch.no_grad():
        outputs = compiled(model.embedding(batch), batch)
    torch.testing.assert_close(outputs.logits, eager, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", WIRINGS)
def test_the_gradient_of_the_head_is_that_of_finite_differences(name: str) -> None:
    model, config, batch = halting_model(name, ponder_weight=1.0, diversity_weight=1.0, diversity_target=0.25)
    weight = head(model).weight

    def loss() -> Tensor:
        # Who stops must not change with the weight: that decision has no gradient.
        losses = halting_losses(model.outputs(batch), batch, config.recursion, patches=config.network.patches)
        return losses["halting"] + losses["ponder"] + losses["diversity"]

    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss().backward()
    assert weight.grad is not None
    with torch.no_grad():
        sides = []
        for sign in (1, -1):
            weight += sign * 1e-6 * direction
            sides.append(loss())
            weight -= sign * 1e-6 * direction
    torch.testing.assert_close((sides[0] - sides[1]) / 2e-6, direction @ weight.grad, rtol=1e-5, atol=1e-6)
