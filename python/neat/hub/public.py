"""What of a configuration and a command line may be shown to others: no paths, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from neat.config.schema import Config

_SECRET = re.compile(r"hf_[A-Za-z0-9_]{8,}|(?i:(?:token|password|secret|api[_-]?key)=)[^\s,;&]+")
_FOLDERS = re.compile(r"""[^\s"',=\[\]{}:;]*/""")
_URL = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s"',\[\]{}]*/""")
_SUFFIXES = frozenset({".zst", ".gz", ".jsonl", ".json", ".parquet", ".txt", ".csv", ".md"})
_BUNDLED = "bundled:"


def without_paths(config: Config) -> Config:
    """The same configuration, with the names of files and folders in place of their paths."""
    data = config.data.model_copy(
        update={
            "sources": tuple(map(source_name, config.data.sources)),
            "validation": tuple(map(source_name, config.data.validation)),
        }
    )
    return config.model_copy(
        update={
            "data": data,
            "ngram": config.ngram.model_copy(update={"model": base_name(config.ngram.model)}),
            "init": config.init.model_copy(update={"source": base_name(config.init.source)}),
            "expert": config.expert.model_copy(update={"base": base_name(config.expert.base)}),
            "vision": config.vision.model_copy(update={"codec": base_name(config.vision.codec)}),
        }
    )


def source_name(source: str) -> str:
    """The name of a source: bundled text as it is, of a path its last part."""
    return source if source.startswith(_BUNDLED) else base_name(source)


def base_name(path: str) -> str:
    """Last part of a path or address, without a query; what holds no slash is left as it is."""
    return PurePosixPath(re.split(r"[?#]", path)[0]).name if "/" in path else path


def dataset_ids(sources: Iterable[str]) -> list[str]:
    """Sources as names that the Hub takes for data sets: letters, digits, dot, dash, underscore; without suffixes."""
    found = []
    for source in sources:
        name = PurePosixPath(source_name(source).removeprefix(_BUNDLED))
        while name.suffix in _SUFFIXES:
            name = name.with_suffix("")
        clean = re.sub(r"[^A-Za-z0-9._-]+", "-", name.name).strip(".-_")
        if clean:
            found.append(clean[:96])
    return list(dict.fromkeys(found))


def command_line(words: Sequence[str]) -> str:
    """A command as it was typed, with the names of files in place of their paths and secrets left out."""
    if not words:
        return ""
    program = base_name(words[0])
    program = "python -m neat" if program == "__main__.py" else program
    return " ".join([program, *(_quoted(redacted(word)) for word in words[1:])])


def redacted(text: str) -> str:
    """`text` without folders, addresses and anything that looks like a token or password."""
    return _FOLDERS.sub("", _URL.sub("", _SECRET.sub("[removed]", text)))


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[A-Za-z0-9_./:=,+@%-]+", word) else "'" + word.replace("'", "'\\''") + "'"
