"""Every setting changes something: a table of all keys, each with a probe that sees its effect.

A key that is declared but missing here fails the test, and so does one whose change nothing notices. Most keys are
seen by the strongest probe there is, a short training run: weights, events and files that differ. What depends on
the clock or on the machine is left out of the comparison.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from neat.config import Config, load
from neat.config.schema import settings
from neat.errors import NeatError
from neat.events.spool import Order
from neat.model.images.codec import Shape, VQCodec, save_codec
from neat.model.images.grammar import Grammar
from neat.model.vocabulary import IMAGE_BEGINS
from neat.profiling.plan import plan
from neat.train import loop
from neat.train.activation import MIB, Policy
from neat.train.device import place
from neat.train.guard import Guard
from neat.train.horizon import Horizon

Effect = Callable[[Config], object]

ROOT = Path(__file__).parents[3]
SMALL = """
name = "probe"
[data]
lanes = 4
[patcher]
mean_length = 4.0
[ngram]
order = 2
folds = 2
[network]
width = 16
layers = 1
heads = 2
kv_heads = 2
ffn_width = 16
local_width = 8
local_heads = 2
decoder_layers = 1
decoder_ffn_width = 16
hash_rows = 32
[train]
max_steps = 4
window = 64
batch_bytes = 256
curriculum = []
log_every = 2
sample_bytes = 8
[checkpoint]
every_steps = 2
[runtime]
dtype = "float32"
[monitor]
sample_s = 0.0
"""
CLOCK = re.compile(r"_s$|/seconds$|per_s$|^time$|^mono$|^step_s$|save_s|^bytes$")
WORDS = ("the", "of", "and", "river", "stone", "lantern", "tide", "harbour", "said", "she", "keeper", "walked", "night")


@dataclass(frozen=True)
class Probe:
    """A change of one setting and how to see it: `effect` differs between `base` and `base` with `value`."""

    value: str
    effect: Effect
    base: tuple[str, ...] = ()


@dataclass(frozen=True)
class Elsewhere:
    """A setting that must not change any result; the named file tests what it does."""

    path: str
    reason: str


@pytest.fixture(autouse=True, scope="module")
def _texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Small files of documents and a base for experts, named by probes relative to the working directory."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "small.toml").write_text(SMALL)
    for seed, (name, num) in enumerate(
        {"text": 40, "second": 40, "third": 40, "held": 2, "more": 3, "large": 260}.items()
    ):
        (folder / f"{name}.jsonl").write_text(rows(seed, num))
    (folder / "questions.jsonl").write_text(
        "".join(
            json.dumps({"prompt": f"{word} ", "answer": "e", "hint": "the ", "other": "t"}) + "\n" for word in WORDS
        )
    )
    (folder / "bad.jsonl").write_text(rows(0, 40) + "{\n")
    (folder / "images.jsonl").write_text(illustrated(1, 40))
    save_codec(VQCodec(Shape(codes=6, code_width=4, codec_width=4, image_size=8, grid=2)), folder / "codec.safetensors")
    with contextlib.chdir(folder):
        loop.run(configuration(("network.patches=false", "train.max_steps=80", "optim.lr=3e-2")), Path("base"))
        yield


def rows(seed: int, num: int) -> str:
    """Documents of different lengths in two fields."""
    chooser = random.Random(seed)

    def words(num: int) -> str:
        return " ".join(chooser.choices(WORDS, k=num))

    return "".join(json.dumps({"text": words(60 + 5 * (i % 9)), "other": words(50)}) + "\n" for i in range(num))


def illustrated(seed: int, num: int) -> str:
    """Documents with an image of 2 x 2 codes in their middle."""
    chooser = random.Random(seed)
    found = []
    for _ in range(num):
        text = " ".join(chooser.choices(WORDS, k=6)) + "\ufffc" + " ".join(chooser.choices(WORDS, k=40))
        found.append(json.dumps({"text": text, "images": [[chooser.randrange(6) for _ in range(4)]]}) + "\n")
    return "".join(found)


def trained(config: Config) -> object:
    """What a short run leaves behind: weights, events and files, without what depends on the clock.

    A refusal is an effect too.
    """
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        try:
            loop.run(config, run)
        except NeatError as error:
            return str(error).replace(folder, "")
        checkpoints = sorted((run / "checkpoints").iterdir())
        weights = (checkpoints[-1] / "model.safetensors").read_bytes()
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        name = json.loads((run / "run.json").read_text())["name"]
        return name, [path.name for path in checkpoints], weights, [timeless(event) for event in events]


def timeless(event: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in event.items() if not CLOCK.search(key)}


def machine(config: Config) -> object:
    """The choices of device, type, threads and compilation, or why they cannot be met."""
    threads = torch.get_num_threads()
    try:
        return place(config.runtime).reasons
    except NeatError as error:
        return str(error)
    finally:
        torch.set_num_threads(threads)


def patience(config: Config) -> object:
    """Updates that may be skipped before a run of broken numbers stops."""
    guard = Guard(config.train.max_skipped_steps)
    broken = torch.tensor(float("nan"))
    for skipped in range(1000):
        try:
            guard.allows(broken, broken, 0)
        except NeatError:
            return skipped
    return None


def horizon(config: Config) -> object:
    return Horizon.start(config.train), config.train.budget_s


def slots(config: Config) -> object:
    return [config.patch_slots(window) for window in config.train.windows]


def drawings(config: Config) -> object:
    """Where the images of a text begin when each begins as early as it may."""
    place, begun = Grammar.start(config.vision), []
    for number in range(2000):
        if place.may_begin:
            begun.append(number)
        place = place.after(IMAGE_BEGINS if place.may_begin else 1)
        if place.expects == "end":
            place = place.end()[1]
    return begun


def watched(config: Config) -> object:
    """Whether a run tells of the machine; what it tells differs each time."""
    with TemporaryDirectory() as folder:
        loop.run(config, Path(folder) / "run")
        return '"type":"system"' in (Path(folder) / "run" / "events.jsonl").read_text()


def decisions(config: Config) -> object:
    """What a policy turns off in twelve steps with rising and falling memory and patches of two and six bytes."""
    policy = Policy(config.activation, config.activation.components)
    used = [200, 500, 500, 500, 450, 100, 500, 500, 100, 100, 100, 100]
    return [policy.decide(step, used[step] * MIB, (2.0, 6.0)[step % 5 == 0]) for step in range(12)]


def activations(config: Config) -> object:
    return plan(config)["memory_bytes"]["activations"]


def ordered(config: Config) -> object:
    """What an upload is asked to do; `tests/integration/hub` and `tests/unit/hub` show that it does it."""
    return Order.of(config.hub, 1)


HUB = ("hub.repo=you/model",)
ATTENTION = ("network.encoder_mixer=attention", "network.decoder_mixer=attention")
MEMORY = ("memory.variant=mag", "memory.heads=2", "memory.hidden=8", "memory.chunk=4")
GPA = ("optim.name=gpa", "optim.ema_decay=0", "predict.micro=false", "predict.jumps=off")
SNOO = ("optim.outer=snoo", "optim.outer_every=2")
HALTING = ("recursion.depth=3", "recursion.halting=true")
LARGE = ("data.sources=large.jsonl",)
TWO = ('data.sources=["text.jsonl", "second.jsonl"]',)

VISION = (
    *("vision.on=true", "vision.codec=palette:6", "vision.codes=6", "vision.grid=2", "vision.head_ffn_width=16"),
    *("data.sources=images.jsonl", "data.validation=[]"),
)
FILE = (*VISION, "vision.codec=codec.safetensors", "vision.code_width=4", "vision.codec_width=4", "vision.image_size=8")

GROWN = ("network.patches=false", "init.from=base")
EXPERT = (
    *("train.mode=expert", "expert.base=base", "expert.name=probe", "data.sources=questions.jsonl"),
    *("data.validation=[]", "expert.stop=' '", "expert.max_answer_bytes=8", "expert.questions=4", "expert.samples=4"),
)

# Phases of a few steps, forecasts from the first observations on, and no gate but the probe.
HYBRID = (
    *(
        "train.max_steps=60",
        "train.log_every=10",
        "predict.jumps=macro",
        "predict.warmup_steps=4",
        "predict.full_steps=4",
    ),
    *("predict.correct_steps=4", "predict.window=6", "predict.min_confidence=0.0", "predict.cost_cap=1.0"),
    *("predict.probe_batches=2", "dynamics.every_steps=1", "dynamics.event_every=1", "dynamics.gram_every=1"),
    *("dynamics.horizons=[1, 2, 4]", "optim.warmup_share=0.0", "optim.decay_share=0.1", "dynamics.hidden=8"),
)

PROBES: dict[str, Probe | Elsewhere] = {
    "name": Probe("other", trained),
    "seed": Probe("1", trained),
    "data.sources": Probe("third.jsonl", trained),
    "data.weights": Probe("[1.0, 5.0]", trained, (*TWO, "data.weights=[5.0, 1.0]")),
    "data.validation": Probe("more.jsonl", trained),
    "data.validation_share": Probe("0.4", trained, ("data.validation=[]", "data.validation_share=0.1")),
    "data.text_field": Probe("other", trained, ("data.validation=[]",)),
    "data.on_bad_row": Probe("skip", trained, ("data.sources=bad.jsonl",)),
    "data.lanes": Probe("2", trained),
    "data.prefetch": Elsewhere("tests/native/test_stream.py", "only hides waiting; the order may not depend on it"),
    "data.shuffle_blocks": Elsewhere("tests/native/test_stream.py", "matters in files of more than one block"),
    "data.max_document_bytes": Probe("400", trained),
    "patcher.rule": Probe("space", trained),
    "patcher.mean_length": Probe("6.0", trained),
    "patcher.max_length": Probe("5", trained),
    "patcher.stride": Probe("3", trained, ("patcher.rule=stride",)),
    "ngram.order": Probe("3", trained),
    "ngram.folds": Probe("3", trained),
    "ngram.max_bytes": Probe("65536", trained, LARGE),
    "ngram.model": Probe("missing.bin", trained),
    "network.patches": Probe("false", trained),
    "network.width": Probe("32", trained),
    "network.layers": Probe("2", trained),
    "network.heads": Probe("4", trained),
    "network.kv_heads": Probe("1", trained),
    "network.ffn_width": Probe("24", trained),
    "network.window": Probe("2", trained),
    "network.rope_theta": Probe("10.0", trained),
    "network.qk_norm": Probe("false", trained),
    "network.local_width": Probe("16", trained),
    "network.encoder_layers": Probe("2", trained),
    "network.encoder_mixer": Probe("attention", trained),
    "network.encoder_ffn_width": Probe("16", trained),
    "network.decoder_layers": Probe("2", trained),
    "network.decoder_mixer": Probe("attention", trained),
    "network.decoder_ffn_width": Probe("0", trained),
    "network.local_heads": Probe("1", trained, ATTENTION),
    "network.local_window": Probe("4", trained, ATTENTION),
    "network.conv_taps": Probe("2", trained),
    "network.pool": Probe("cross_attention", trained),
    "network.read": Probe("cross_attention", trained),
    "network.hash_orders": Probe("[3]", trained),
    "network.hash_rows": Probe("64", trained),
    "network.smear": Probe("false", trained),
    "network.ngram_features": Probe("false", trained),
    "vision.on": Probe("true", trained, ("vision.codec=palette:6", "vision.codes=6", "vision.grid=2")),
    "vision.codec": Probe("missing.safetensors", trained, VISION),
    "vision.codes": Probe("7", trained, FILE),
    "vision.code_width": Probe("5", trained, FILE),
    "vision.codec_width": Probe("5", trained, FILE),
    "vision.image_size": Probe("16", trained, FILE),
    "vision.grid": Probe("4", trained, VISION),
    "vision.head_layers": Probe("1", trained, VISION),
    "vision.head_ffn_width": Probe("24", trained, VISION),
    "vision.loss_weight": Probe("0.5", trained, VISION),
    "vision.discrepancy_weight": Probe("0.5", trained, VISION),
    "vision.max_images": Probe("2", drawings),
    "vision.min_gap": Probe("3", drawings),
    "expert.count": Probe("2", trained),
    "expert.dispatcher_width": Probe("32", trained, ("expert.count=1",)),
    "expert.name": Probe("other", trained, EXPERT),
    "expert.base": Probe("missing", trained, EXPERT),
    "expert.method": Probe("cross_entropy", trained, EXPERT),
    "expert.reward": Probe("contains", trained, EXPERT),
    "expert.prompt_field": Probe("hint", trained, (*EXPERT, "expert.method=cross_entropy")),
    "expert.answer_field": Probe("other", trained, (*EXPERT, "expert.method=cross_entropy")),
    "expert.stop": Probe("e", trained, EXPERT),
    "expert.max_answer_bytes": Probe("4", trained, EXPERT),
    "expert.questions": Probe("2", trained, EXPERT),
    "expert.samples": Probe("2", trained, EXPERT),
    "expert.kl": Probe("1.0", trained, EXPERT),
    "expert.lr": Probe("0.1", trained, (*EXPERT, "expert.method=cross_entropy")),
    "expert.clip_norm": Probe("0.0", trained, (*EXPERT, "expert.method=cross_entropy")),
    "network.rope_share": Probe("0.5", trained),
    "network.qk_gain": Probe("2.0", trained),
    "network.kv_conv": Probe("3", trained),
    "network.xsa": Probe("true", trained),
    "network.attention_gate": Probe("true", trained),
    "network.unet_skips": Probe("true", trained, ("network.layers=2",)),
    "network.activation": Probe("leaky_relu2", trained),
    "network.loop_middle": Probe("0.5", trained, ("network.layers=3",)),
    "memory.variant": Probe("mal", trained, MEMORY),
    "memory.layers": Probe("[1]", trained, (*MEMORY, "network.layers=2")),
    "memory.heads": Probe("4", trained, MEMORY),
    "memory.hidden": Probe("16", trained, MEMORY),
    "memory.chunk": Probe("8", trained, MEMORY),
    "memory.conv_taps": Probe("2", trained, MEMORY),
    "memory.max_rate": Probe("0.1", trained, MEMORY),
    "memory.clip": Probe("0.01", trained, MEMORY),
    "memory.gram": Probe("false", trained, MEMORY),
    "memory.surprise_threshold": Probe("0.99", trained, MEMORY),
    "memory.recompute": Probe("true", activations, MEMORY),
    "memory.persistent": Probe("3", trained),
    "recursion.depth": Probe("2", trained),
    "recursion.micro_steps": Probe("2", trained),
    "recursion.supervision": Probe("[0.5]", trained, ("recursion.depth=2",)),
    "recursion.halting": Probe("true", trained, ("recursion.depth=3",)),
    "recursion.halt_threshold": Probe("0.001", trained, HALTING),
    "recursion.min_depth": Probe("2", trained, (*HALTING, "recursion.halt_threshold=0.001")),
    "recursion.halt_weight": Probe("0.1", trained, HALTING),
    "recursion.ponder_weight": Probe("1.0", trained, HALTING),
    "recursion.diversity_weight": Probe("1.0", trained, HALTING),
    "recursion.diversity_target": Probe("0.2", trained, (*HALTING, "recursion.diversity_weight=1.0")),
    "recursion.calibration_decay": Probe("0.5", trained, HALTING),
    "init.from": Probe("base", trained, ("network.patches=false",)),
    "init.method": Probe("stack", trained, (*GROWN, "network.layers=2")),
    "init.weights": Probe("raw", trained, GROWN),
    "init.optimizer": Probe("map", trained, (*GROWN, "init.weights=raw")),
    "init.noise": Probe("0.0", trained, (*GROWN, "network.ffn_width=24")),
    "activation.memory_limit_mib": Probe("300", decisions),
    "activation.easy_patch_length": Probe("4.0", decisions),
    "activation.components": Probe('["recursion"]', decisions, ("activation.memory_limit_mib=300",)),
    "activation.patience": Probe("2", decisions, ("activation.memory_limit_mib=300",)),
    "predict.micro": Probe("false", trained, HYBRID),
    "predict.gain": Probe("0.1", trained, HYBRID),
    "predict.decay": Probe("0.5", trained, HYBRID),
    "predict.buffer_dtype": Probe("bfloat16", trained, HYBRID),
    "predict.learn_gain": Probe("true", trained, HYBRID),
    "predict.jumps": Probe("off", trained, HYBRID),
    "predict.warmup_steps": Probe("9", trained, HYBRID),
    "predict.full_steps": Probe("5", trained, HYBRID),
    "predict.predict_steps": Probe("1", trained, HYBRID),
    "predict.correct_steps": Probe("2", trained, HYBRID),
    "predict.window": Probe("12", trained, HYBRID),
    "predict.shares": Probe("[0.3]", trained, HYBRID),
    "predict.damping": Probe("0.5", trained, (*HYBRID, "predict.jumps=literal")),
    "predict.probe_batches": Probe("1", trained, HYBRID),
    "predict.min_confidence": Probe("1.0", trained, HYBRID),
    "predict.cost_cap": Probe("0.01", trained, HYBRID),
    "predict.pull_back": Elsewhere("tests/unit/train/predict/test_predictor.py", "needs a jump that went too far"),
    "predict.max_rollbacks": Elsewhere("tests/unit/train/predict/test_predictor.py", "needs a divergence"),
    "dynamics.on": Probe("false", trained, HYBRID),
    "dynamics.every_steps": Probe("2", trained, HYBRID),
    "dynamics.event_every": Probe("2", trained, HYBRID),
    "dynamics.gram_every": Probe("4", trained, HYBRID),
    "dynamics.horizons": Probe("[1, 3]", trained, HYBRID),
    "dynamics.hidden": Probe("4", trained, HYBRID),
    "dynamics.latent": Probe("3", trained, HYBRID),
    "dynamics.members": Probe("1", trained, HYBRID),
    "dynamics.learning_rate": Probe("0.1", trained, HYBRID),
    "dynamics.free_bits": Probe("0.0", trained, HYBRID),
    "dynamics.bptt": Probe("2", trained, HYBRID),
    "dynamics.interval": Probe("0.5", trained, HYBRID),
    "dynamics.store": Probe("1", trained, HYBRID),
    "dynamics.blend": Probe("0.0", trained, HYBRID),
    "optim.name": Probe("adamw", trained),
    "optim.lr": Probe("2e-2", trained),
    "optim.momentum": Probe("0.95", trained, ("optim.momentum_warmup_share=0.0",)),
    "optim.momentum_start": Probe("0.5", trained),
    "optim.momentum_warmup_share": Probe("1.0", trained),
    "optim.nesterov": Probe("false", trained),
    "optim.newton_schulz_steps": Probe("2", trained),
    "optim.weight_decay": Probe("0.5", trained),
    "optim.adamw_lr": Probe("1e-2", trained),
    "optim.beta1": Probe("0.5", trained),
    "optim.beta2": Probe("0.5", trained),
    "optim.eps": Probe("1e-2", trained),
    "optim.hash_lr": Probe("5e-2", trained),
    "optim.embedding_lr": Probe("1e-2", trained),
    "optim.head_lr": Probe("1e-2", trained),
    "optim.lr_scale": Probe('[["latent", 0.5]]', trained),
    "optim.gpa_mu_x": Probe("0.5", trained, GPA),
    "optim.gpa_mu_y": Probe("0.5", trained, GPA),
    "optim.grokfast_lambda": Probe("0.5", trained, ("optim.name=adamw",)),
    "optim.grokfast_alpha": Probe("0.5", trained, ("optim.name=mugrokfast", "optim.grokfast_lambda=1.0")),
    "optim.outer": Probe("snoo", trained, ("optim.outer_every=2",)),
    "optim.outer_every": Probe("3", trained, SNOO),
    "optim.outer_lr": Probe("0.5", trained, SNOO),
    "optim.outer_momentum": Probe("0.9", trained, SNOO),
    "optim.clip_norm": Probe("0.01", trained),
    "optim.ema_decay": Probe("0.01", trained),
    "optim.ema_every": Probe("2", trained, ("optim.ema_decay=0.5",)),
    "optim.schedule": Probe("cosine", trained),
    "optim.warmup_share": Probe("0.5", trained),
    "optim.decay_share": Probe("0.8", trained),
    "optim.min_lr_ratio": Probe("0.5", trained),
    "train.mode": Probe("expert", trained, EXPERT[1:]),
    "train.max_steps": Probe("3", trained),
    "train.max_bytes": Probe("512", trained, ("train.max_bytes=1024",)),
    "train.budget": Probe("2m", horizon, ("train.budget=1m",)),
    "train.batch_bytes": Probe("128", trained),
    "train.micro_batch_bytes": Probe("64", trained),
    "train.window": Probe("32", trained),
    "train.curriculum": Probe("[[0.5, 32]]", trained),
    "train.tune": Probe("true", trained, ("train.tune_share=0.5",)),
    "train.tune_share": Probe("0.5", trained, ("train.max_steps=150", "train.tune=true", "train.tune_share=0.3")),
    "train.patch_curriculum": Probe("[[0.5, 6.0]]", trained),
    "train.patch_slack": Probe("2.0", slots),
    "train.log_every": Probe("1", trained),
    "train.diagnose_every": Probe("2", trained),
    "train.eval_every": Probe("2", trained),
    "train.eval_bytes": Probe("100", trained),
    "train.sample_bytes": Probe("4", trained),
    "train.max_skipped_steps": Probe("3", patience),
    "checkpoint.every_steps": Probe("1", trained),
    "checkpoint.keep": Probe("3", trained, ("checkpoint.every_steps=1",)),
    "hub.repo": Probe("you/other", ordered, HUB),
    "hub.upload": Elsewhere("tests/integration/hub/test_training.py", "each policy with a hub that answers"),
    "hub.public": Probe("true", ordered, HUB),
    "hub.tag": Probe("false", ordered, HUB),
    "hub.license": Probe("mit", ordered, HUB),
    "hub.include_optimizer": Probe("true", ordered, HUB),
    "hub.final_wait_s": Elsewhere("tests/integration/hub/test_training.py", "a wait for a hub that is silent"),
    "hub.connect_s": Probe("3.0", ordered, HUB),
    "hub.read_s": Probe("3.0", ordered, HUB),
    "hub.attempt_s": Probe("3.0", ordered, HUB),
    "hub.max_retry_wait_s": Probe("3.0", ordered, HUB),
    "hub.max_queued": Elsewhere("tests/integration/hub/test_training.py", "a queue longer than it may be"),
    "runtime.device": Probe("cpu", machine),
    "runtime.dtype": Probe("bfloat16", trained),
    "runtime.threads": Probe("1", machine),
    "runtime.compile": Probe("on", machine),
    "monitor.sample_s": Probe("0.01", watched),
}


def configuration(overrides: tuple[str, ...]) -> Config:
    return load("small.toml", ["data.sources=text.jsonl", "data.validation=held.jsonl", *overrides]).config


@cache
def baseline(effect: Effect, overrides: tuple[str, ...]) -> object:
    return effect(configuration(overrides))


def test_the_table_lists_every_key() -> None:
    assert PROBES.keys() == settings().keys()


def test_what_is_tested_elsewhere_is_tested_there() -> None:
    for key, probe in PROBES.items():
        if isinstance(probe, Elsewhere):
            assert key.rpartition(".")[2] in (ROOT / probe.path).read_text(), key


def test_a_run_repeats_itself() -> None:
    """Without this every probe would see a difference."""
    assert trained(configuration(())) == baseline(trained, ())


@pytest.mark.parametrize("key", [key for key, probe in PROBES.items() if isinstance(probe, Probe)])
def test_a_change_is_seen(key: str) -> None:
    probe = PROBES[key]
    assert isinstance(probe, Probe)
    changed = (*probe.base, f"{key}={probe.value}")
    assert probe.effect(configuration(changed)) != baseline(probe.effect, probe.base)
