"""Where values come from: defaults, then a preset, then a TOML file, then `--set`; the later one wins.

Every value keeps the place it came from, every problem is reported at once with that place, and nothing here
touches a device or prints: remarks for the user are returned as `Loaded.notes`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from neat.config.base import suggest
from neat.config.explain import explain, unknown_key
from neat.config.schema import NAME, Config, sections, settings
from neat.config.tomlfile import KeyPath, display, flatten, key_lines, line_of, parse, read
from neat.config.training import LENGTHS
from neat.errors import ConfigError, Problem

PRESETS = ("tiny", "tiny-full", "100m", "350m", "1b", "reasoning", "memory", "speed")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was set: `label` for people (`default`, `preset tiny`, `my.toml:12`, `--set`), and the same
    place as the phrase of an error message.
    """

    label: str
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with the origin of each of its values and remarks for stderr."""

    config: Config
    origins: Mapping[str, Origin]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Layer:
    """The values of one place, by path."""

    values: dict[KeyPath, tuple[object, Origin]] = field(default_factory=dict)


_DEFAULT = Origin("default")
_MAX_PROBLEMS = 20
OWN_TEXT_VALIDATION_SHARE = 0.02
"""Share of your own documents that is held out when `data.sources` replaces the text of a preset."""


def load(source: str | Path | None = None, overrides: Sequence[str] = ()) -> Loaded:
    """The configuration that `--config source` and the `--set` texts in `overrides` describe.

    `source` is the name of a preset, the path of a TOML file or a run directory; without it the defaults are the base.
    Raises `ConfigError` with every problem found.
    """
    layers: list[_Layer] = []
    notes: list[str] = []
    if source is not None:
        layers, notes = _source_layers(source)
    layers.append(_override_layer(overrides))
    return _resolve(layers, tuple(notes))


def load_text(text: str, name: str) -> Loaded:
    """The configuration of a TOML text; `name` is for messages."""
    return _resolve(_text_layers(text, name), ())


def load_file(path: Path) -> Loaded:
    """The configuration of a TOML file, such as the `config.toml` of a run; raises `ConfigError`."""
    return load_text(read(path), str(path))


def preset_text(name: str) -> str:
    """The TOML text of a packaged preset; raises `ConfigError` when there is none of that name."""
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name}", hint=_preset_hint(name))
    return (files("neat.config") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def _preset_hint(name: str) -> str:
    near = suggest(name, PRESETS)
    known = ", ".join(PRESETS)
    return f"did you mean {near}? presets: {known}" if near else f"presets: {known}; or give the path of a TOML file"


def _source_layers(source: str | Path) -> tuple[list[_Layer], list[str]]:
    text = str(source)
    path = Path(source)
    if text in PRESETS:
        return [_preset_layer(text)], []
    if (path / "config.toml").is_file():
        return _text_layers(read(path / "config.toml"), str(path / "config.toml")), []
    if path.exists():
        return _named_after(path, _text_layers(read(path), text)), []
    if path.suffix != ".toml" and path.name == text:
        raise ConfigError(f"there is no preset or file {text}", hint=_preset_hint(text))
    if path.name == text and path.stem in PRESETS:
        note = f"{text} is not a file here: using the packaged preset {path.stem}"
        return [_preset_layer(path.stem)], [note]
    raise ConfigError(f"there is no file {text}", hint=_preset_hint(path.stem))


def _preset_layer(name: str) -> _Layer:
    origin = Origin(f"preset {name}", f"in preset {name}")
    table = parse(preset_text(name), f"preset {name}")
    return _Layer({path: (value, origin) for path, value in flatten(table)})


def _text_layers(text: str, name: str) -> list[_Layer]:
    """The layer of a TOML text, after that of the preset it names as its `base`."""
    table = parse(text, name)
    lines = key_lines(text)
    layers = []
    if "base" in table:
        layers.append(_base_layer(table.pop("base"), f"in {name}, line {lines.get(('base',), 1)}"))
    layer = _Layer()
    for path, value in flatten(table):
        line = line_of(path, lines)
        section = f", [{display(path[:-1])}]" if len(path) > 1 else ""
        layer.values[path] = (value, Origin(f"{name}:{line}", f"in {name}, line {line}{section}"))
    return [*layers, layer]


def _named_after(path: Path, layers: list[_Layer]) -> list[_Layer]:
    """A file that gives no name of its own names the run, so that two files do not share runs/tiny."""
    if re.fullmatch(NAME, path.stem):
        layers[-1].values.setdefault(("name",), (path.stem, Origin(str(path), f"in {path}")))
    return layers


def _base_layer(base: object, where: str) -> _Layer:
    if not isinstance(base, str) or base not in PRESETS:
        raise ConfigError(f"base = {base!r} is not a preset"[:200], hint=_preset_hint(str(base)), where=where)
    return _preset_layer(base)


def _override_layer(overrides: Sequence[str]) -> _Layer:
    layer = _Layer()
    for override in overrides:
        key, equals, text = override.partition("=")
        origin = Origin("--set", f"from --set {override[:120]}")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or not all(path):
            raise ConfigError(f"--set {override[:120]} is not KEY=VALUE", hint="write --set train.max_steps=100")
        value = _override_value(".".join(path), text.strip(), origin)
        leaves = flatten(value, path) if isinstance(value, dict) and value else [(path, value)]
        layer.values.update({leaf: (inner, origin) for leaf, inner in leaves})
    return layer


def _override_value(key: str, text: str, origin: Origin) -> object:
    """The value of a `--set`: TOML, or a bare word for a string, or a single element for a list."""
    declared = settings().get(key)
    annotation = str(declared.annotation) if declared else ""
    wants_list = annotation.startswith("tuple")
    wants_text = "str" in annotation or "Literal" in annotation
    try:
        table = tomllib.loads(f"value = {text}")
        if list(table) != ["value"]:
            raise ValueError("more than one value")
        value = table["value"]
    except (ValueError, RecursionError):
        if text[:1] in ("[", "{", '"', "'") or "\n" in text or not (text or wants_text):
            hint = f"quote it for the shell: --set '{key}=[...]'" if wants_list else None
            raise ConfigError(f"{key} has a value that is not valid TOML", hint=hint, where=origin.where) from None
        value = text if text or not wants_list else []
    if wants_text and not isinstance(value, str | list | dict):
        value = text
    return [value] if wants_list and not isinstance(value, list | dict) else value


def _resolve(layers: Iterable[_Layer], notes: tuple[str, ...]) -> Loaded:
    values: dict[str, object] = {}
    origins = dict.fromkeys(settings(), _DEFAULT)
    problems: list[Problem] = []
    for layer in layers:
        _displace_lengths(layer, values, origins)
        _displace_validation(layer, values, origins)
        for path, (value, origin) in layer.values.items():
            key = ".".join(path)
            if key in settings() and key.count(".") + 1 == len(path):
                values[key], origins[key] = value, origin
            elif len(path) > 1 or value != {} or key not in sections():
                problems.append(unknown_key(path, origin.where))
    try:
        config = Config.model_validate(_nested(values))
    except ValidationError as error:
        problems += explain(error, {key: origin.where for key, origin in origins.items()})
    else:
        if not problems:
            return Loaded(config, origins, notes)
    hidden = len(problems) - _MAX_PROBLEMS
    more = [Problem(f"and {hidden} more of the kind")] if hidden > 0 else []
    raise ConfigError.of([*problems[:_MAX_PROBLEMS], *more])


def _displace_lengths(layer: _Layer, values: dict[str, object], origins: dict[str, Origin]) -> None:
    """A length set in this layer takes the place of another one that an earlier layer (or the default) set."""
    given = [key for key in LENGTHS if layer.values.get(("train", key), (0, None))[0] not in (0, "")]
    if not given:
        return
    by = layer.values["train", given[0]][1]
    for key in LENGTHS:
        if key not in given:
            values[f"train.{key}"] = "" if key == "budget" else 0
            origins[f"train.{key}"] = by


def _displace_validation(layer: _Layer, values: dict[str, object], origins: dict[str, Origin]) -> None:
    """Other sources leave an inherited `data.validation` behind: it belongs to the text that they replace."""
    named = ("data", "sources") in layer.values and ("data", "validation") not in layer.values
    if not named or not values.get("data.validation"):
        return
    by = layer.values["data", "sources"][1]
    values["data.validation"], origins["data.validation"] = (), by
    if not values.get("data.validation_share"):
        values["data.validation_share"], origins["data.validation_share"] = OWN_TEXT_VALIDATION_SHARE, by


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    table: dict[str, object] = {}
    for key, value in values.items():
        section, dot, name = key.rpartition(".")
        if dot:
            inner = table.setdefault(section, {})
            assert isinstance(inner, dict)
            inner[name] = value
        else:
            table[name] = value
    return table
