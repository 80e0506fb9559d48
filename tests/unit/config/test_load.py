"""Layers, origins and messages of the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neat.config import PRESETS, Config, config_hash, difference, dump_toml, load, load_text
from neat.config.load import preset_text
from neat.config.schema import descriptions, settings
from neat.errors import ConfigError, Exit, render


def refused(source: object = "tiny", *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(source, overrides)  # type: ignore[arg-type]
    assert caught.value.exit_code == Exit.USAGE
    return render(caught.value)


def answered(attempt: Callable[[], object]) -> None:
    """Passes when `attempt` succeeds or explains itself; any other error goes through."""
    try:
        attempt()
    except ConfigError as error:
        explained = render(error)
    else:
        return
    assert explained.startswith("config error: ")


def write(folder: Path, text: str, name: str = "my.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_being_written_and_read(name: str) -> None:
    config = load(name).config
    assert config.name == name
    assert load_text(dump_toml(config), "again").config == config
    assert load_text(dump_toml(config, comments=False), "again").config == config


def test_every_setting_is_described_and_written() -> None:
    assert descriptions().keys() == settings().keys()
    text = dump_toml(Config())
    for key, description in descriptions().items():
        assert description.endswith("."), key
        assert re.search(rf"^{key.rpartition('.')[2]} = ", text, re.MULTILINE)


def test_later_layers_win_and_say_so(tmp_path: Path) -> None:
    path = write(tmp_path, 'base = "tiny"\nseed = 7\n\n[optim]\nlr = 0.5\nmomentum = 0.8\n')
    loaded = load(path, ["optim.momentum=0.7"])
    origins = {key: origin.label for key, origin in loaded.origins.items()}
    assert (loaded.config.seed, loaded.config.optim.lr, loaded.config.optim.momentum) == (7, 0.5, 0.7)
    assert origins["optim.beta1"] == "default"
    assert origins["network.width"] == "preset tiny"
    assert origins["seed"] == f"{path}:2"
    assert origins["optim.lr"] == f"{path}:5"
    assert origins["optim.momentum"] == "--set"


def test_a_file_names_its_run_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert load(write(tmp_path, 'base = "tiny"\n', "mine.toml")).config.name == "mine"
    assert load(write(tmp_path, 'base = "tiny"\nname = "other"\n', "mine.toml")).config.name == "other"


def test_a_missing_file_of_a_presets_name_is_the_preset_and_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load("100m.toml")
    assert loaded.config == load("100m").config
    assert "packaged preset 100m" in loaded.notes[0]
    write(tmp_path, "seed = 3\n", "100m.toml")
    assert load("100m.toml").config.seed == 3
    assert "there is no file elsewhere/100m.toml" in refused("elsewhere/100m.toml")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.budget=1h30m", "budget", "1h30m"),
        ("train.max_steps=5", "max_steps", 5),
        ("train.max_bytes=1_000_000", "max_bytes", 1_000_000),
    ],
)
def test_one_length_displaces_another_of_an_earlier_layer(override: str, key: str, value: object) -> None:
    for preset in PRESETS:
        loaded = load(preset, [override])
        lengths = {name: getattr(loaded.config.train, name) for name in ("max_steps", "max_bytes", "budget")}
        assert {name: found for name, found in lengths.items() if found} == {key: value}


def test_other_sources_leave_the_validation_of_the_preset_behind() -> None:
    assert load("tiny").config.data.validation
    data = load("tiny", ["data.sources=mine.jsonl"]).config.data
    assert (data.validation, data.validation_share) == ((), 0.02)
    data = load("tiny", ["data.sources=mine.jsonl", "data.validation=held.jsonl"]).config.data
    assert (data.validation, data.validation_share) == (("held.jsonl",), 0.0)
    data = load("tiny", ["data.sources=mine.jsonl", "data.validation_share=0.5"]).config.data
    assert (data.validation, data.validation_share) == ((), 0.5)


def test_two_lengths_in_one_layer_are_refused() -> None:
    assert "both lengths of the run" in refused("tiny", "train.max_steps=5", "train.budget=5m")
    assert "set exactly one" in refused("tiny", "train.budget=")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300s", 300.0), ("5m", 300.0), ("1h30m", 5400.0), ("1h1m1s", 3661.0), ("0.5s", 0.5), (" 2m ", 120.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert load("tiny", [f'train.budget="{text}"']).config.train.budget_s == seconds


@pytest.mark.parametrize("text", ["5", "m", "5 m", "-5m", "5d", "0s", "1e3s", "5m5h", "9" * 400 + "s"])
def test_what_is_no_duration(text: str) -> None:
    assert "is not a duration" in refused("tiny", f'train.budget="{text}"')


@pytest.mark.parametrize(
    ("text", "value"),
    [('["a", "b"]', ("a", "b")), ("a", ("a",)), ("2024.jsonl", ("2024.jsonl",)), ("7", ("7",)), ("[]", ())],
)
def test_lists_and_bare_words_on_the_command_line(text: str, value: tuple[str, ...]) -> None:
    assert load("tiny", [f"data.sources={text}"]).config.data.sources == value


def test_unknown_keys_are_named_with_line_and_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, 'base = "tiny"\n\n[train]\nstep = 3\n\n[optimizer]\nlr = 1\n\n[optim]\nmomentun = 0.5\n')
    text = refused(path)
    assert f"config error: train.step is not a setting (in {path}, line 4, [train])\n\nhint: did you mean" in text
    assert f"optimizer.lr is not a setting (in {path}, line 7, [optimizer])\n\nhint: did you mean optim.lr?" in text
    assert (
        f"optim.momentun is not a setting (in {path}, line 10, [optim])\n\nhint: did you mean optim.momentum?" in text
    )
    assert "did you mean train.max_steps?" in refused("tiny", "train.step=3")


def test_all_wrong_values_are_reported_at_once() -> None:
    text = refused("tiny", "train.max_steps=many", "optim.lr=-1", "runtime.device=cud", "data.lanes=true", "bogus=1")
    assert 'train.max_steps = "many" must be an integer (from --set train.max_steps=many)' in text
    assert "optim.lr = -1 must be greater than 0" in text
    assert "hint: did you mean cuda?" in text
    assert "data.lanes = true must be an integer" in text
    assert "bogus is not a setting" in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.heads=5"], "network.heads 5 does not divide network.width (192)"),
        (["network.heads=2", "network.kv_heads=3"], "network.kv_heads 3 does not divide network.heads (2)"),
        (["network.local_heads=128"], "leaves heads of odd width 1"),
        (["network.read=cross_attention"], "network.local_width 128 does not divide network.width (192)"),
        (["network.hash_orders=[3,3]"], "names a length twice"),
        (["train.window=128", "train.curriculum=[[0.5,256]]"], "train.curriculum has a window of 256"),
        (["train.curriculum=[[0.6,64],[0.6,128]]"], "add up to more than 1"),
        (["train.batch_bytes=2000"], "train.batch_bytes 2000 is not a multiple of the window 64"),
        (["train.micro_batch_bytes=768"], "train.micro_batch_bytes 768 does not divide train.batch_bytes (2048)"),
        (["data.weights=[1.0,2.0]"], "data.weights has 2 entries for 1 data.sources"),
        (["data.weights=[0.0]"], "more than 0 together"),
        (["data.sources=['']"], "data.sources has an empty entry"),
        (["patcher.mean_length=20"], "is more than patcher.max_length (16)"),
        (["optim.warmup_share=0.7"], "add up to 1.1 of the run"),
        (["train.window=16", "train.curriculum=[]", "patcher.max_length=17"], "is more than train.window (16)"),
        (["name=../x"], "must consist of letters"),
        (["optim.lr=nan"], "must be a finite number"),
        (["train=3"], "train is a group of settings"),
        (["train.window.x=3"], "train.window holds a single value"),
        (["data.sources=[1"], "not valid TOML"),
        (["train.window"], "is not KEY=VALUE"),
        (["train.window=1\nseed=2"], "not valid TOML"),
        (["seed=" + "9" * 5000], "must be an integer"),
    ],
)
def test_rules_between_settings_have_clear_messages(overrides: list[str], message: str) -> None:
    assert message in refused("tiny", *overrides)


def test_places_survive_what_toml_allows(tmp_path: Path) -> None:
    text = 'name = """\n[optim]\nlr = 3\n"""\n[data]\nsources = [\n  "a]", # ]\n  "b",\n]\n"lanes" = 1.5\n'
    text += "[train]\nx.y = 1\n"
    rendered = refused(write(tmp_path, text))
    assert "data.lanes = 1.5 must be an integer" in rendered
    assert "line 10, [data]" in rendered
    assert "train.x.y is not a setting" in rendered
    assert "line 12, [train.x]" in rendered


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[train\n", "line 1"),
        (b"seed = 1\nseed = 2\n", "line 2"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x = " + b"[" * 50_000, "nested too deeply"),
        (b"x = " + b"9" * 50_000, "too many digits"),
        (b"a." * 20_000 + b"a = 1", "more than 1000 dots"),
        (b"#" * 70_000, "is larger than"),
        (b'base = "huge"', "base = 'huge' is not a preset"),
        (b"base = 3", "base = 3 is not a preset"),
        (b"seed = 2024-01-01", "must be an integer"),
        (b'"\\u001b[31m" = 1', "\\x1b[31m"),
        (b"\n".join(b"k%d = 1" % i for i in range(500)), "and 480 more of the kind"),
    ],
)
def test_hostile_files_get_an_answer(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "hostile.toml"
    path.write_bytes(content)
    text = refused(path)
    assert message in text
    assert "\x1b" not in text
    assert len(text) < 10_000


def test_missing_things_are_named(tmp_path: Path) -> None:
    assert "did you mean tiny?" in refused("tinny")
    assert "cannot read" in refused(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.sources is empty"):
        load("100m").config.require_sources()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_configuration_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "any.toml"
    path.write_bytes(content)
    answered(lambda: load(path))


@given(st.integers(min_value=0, max_value=len(preset_text("100m"))))
def test_a_truncated_preset_is_a_configuration_or_an_error(cut: int) -> None:
    answered(lambda: load_text(preset_text("100m")[:cut], "cut"))


@given(
    seed=st.integers(0, 2**63 - 1),
    sources=st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20), max_size=4),
    lr=st.floats(1e-300, 10.0),
    shares=st.lists(st.floats(0.01, 0.3), max_size=3),
    smear=st.booleans(),
)
def test_every_configuration_survives_being_written_and_read(
    seed: int, sources: list[str], lr: float, shares: list[float], smear: bool
) -> None:
    base = Config().model_dump()
    base |= {"seed": seed}
    base["data"] |= {"sources": sources}
    base["optim"] |= {"lr": lr}
    base["train"] |= {"curriculum": [[share, 64] for share in shares]}
    base["network"] |= {"smear": smear}
    config = Config.model_validate(base)
    again = load_text(dump_toml(config), "again").config
    assert again == config
    assert config_hash(again) == config_hash(config)
    assert difference(again, config) == []


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load("tiny").config.train.window = 3  # type: ignore[misc]


def test_differences_are_listed_by_key() -> None:
    left, right = load("tiny").config, load("tiny", ["optim.lr=0.5", "seed=3"]).config
    assert difference(left, right) == [("seed", 0, 3), ("optim.lr", 0.01, 0.5)]
    assert config_hash(left) != config_hash(right)


def test_patch_slots_hold_the_mean_with_slack() -> None:
    config = load("tiny").config
    assert config.patch_slots(256) == 77  # ceil(256 / 4.25 * 1.25) + 1
    assert load("tiny", ["patcher.rule=byte"]).config.patch_slots(256) == 257
    assert load("tiny", ["patcher.rule=stride"]).config.patch_slots(256) == 81
