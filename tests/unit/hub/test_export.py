"""What an export holds, that it gives the same model back, and that a damaged or hostile one is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.exports import copied_run, exported, trained_run

import neat
from neat.errors import CheckpointError, HubError
from neat.evaluate.load import load, load_all
from neat.hub.export import export, find_checkpoint
from neat.train import checkpoint
from neat.train.exported import CONFIG, INDEX, SUMS, WEIGHTS, settings_hash
from neat.train.loading import read_config

TEXTS = [b"She walked to the harbour and said nothing of the stone.", b"\x00\xff" * 40, b"x"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def relist(folder: Path, *names: str) -> None:
    """Adapts the list of hashes, as a careful attacker would."""
    sums = dict(line.split("  ")[::-1] for line in (folder / SUMS).read_text().splitlines())
    sums |= {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def described(folder: Path) -> dict[str, str]:
    return {"format": "pt", "config_hash": json.loads((folder / CONFIG).read_text())["config_hash"]}


def other_shapes(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(iter(tensors))
    tensors[name] = torch.zeros(tensors[name].shape[0] + 1, *tensors[name].shape[1:])
    save_file(tensors, folder / WEIGHTS, metadata=described(folder))
    relist(folder, WEIGHTS)


def other_configuration(folder: Path) -> None:
    content = json.loads((folder / CONFIG).read_text())
    content["settings"]["network"]["qk_norm"] = False
    content["config_hash"] = settings_hash(content)
    (folder / CONFIG).write_text(json.dumps(content))
    relist(folder, CONFIG)


def newer_schema(folder: Path) -> None:
    edit(folder / CONFIG, '"schema_version": 1', '"schema_version": 2')


def rewrite(folder: Path, name: str, fill: Callable[[Path], object]) -> None:
    """Replaces or adds a file of a checkpoint, with its line in the manifest."""
    fill(folder / name)
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    size, digest = (folder / name).stat().st_size, checkpoint.file_digest(folder / name)
    manifest["files"][name] = {"bytes": size, "xxh3_128": digest}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))


def attacks() -> Iterator[tuple[str, Callable[[Path], None], str]]:
    yield "bit in the weights", lambda folder: flip(folder / WEIGHTS), "is not what was exported"
    yield "weights cut", lambda folder: cut(folder / WEIGHTS), "not a safetensors file|not what was exported"
    yield "n-gram model", lambda folder: flip(folder / "entropy_model.bin"), "is not what was exported"
    yield "n-gram model gone", lambda folder: (folder / "entropy_model.bin").unlink(), "is missing"
    yield "setting", lambda folder: edit(folder / CONFIG, '"heads": 2', '"heads": 4'), "does not have the hash"
    yield "list gone", lambda folder: (folder / SUMS).unlink(), "not an export"
    yield "weights not listed", lambda folder: edit(folder / SUMS, WEIGHTS, "other.safetensors"), "names no weights"
    yield "path in the list", lambda folder: edit(folder / SUMS, "loss.svg", "../loss.svg"), "no hash and file name"
    yield "other shapes", other_shapes, "the network has"
    yield "other configuration", other_configuration, "belongs to another config.json"
    yield "newer schema", newer_schema, "schema version 2"
    yield "other model", lambda folder: edit(folder / CONFIG, '"neat"', '"bert"'), "model_type is bert"
    yield "no JSON", lambda folder: (folder / CONFIG).write_text("{"), "cannot be read"
    yield "deep JSON", lambda folder: (folder / CONFIG).write_text("[" * 100_000), "cannot be read"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("export"))


@pytest.fixture
def changeable(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_the_export_is_the_model_of_the_run(folder: Path) -> None:
    original, copy = load(trained_run()), neat.from_pretrained(folder)
    for left, right in zip(original.log_probs(TEXTS), copy.log_probs(TEXTS), strict=True):
        assert torch.equal(left, right)
    assert list(original.generate(b"The ", max_bytes=30)) == list(copy.generate(b"The ", max_bytes=30))


def test_the_commands_read_an_export_like_a_run(folder: Path) -> None:
    assert load_all(folder).step == load_all(trained_run()).step == 30
    assert load(folder).score(TEXTS) == load(trained_run()).score(TEXTS)


def test_the_weights_are_the_averaged_ones(folder: Path) -> None:
    source = checkpoint.find(trained_run())
    average, model = load_file(source / checkpoint.AVERAGE), load_file(source / checkpoint.MODEL)
    found = load_file(folder / WEIGHTS)
    assert all(torch.equal(found[name], average[name]) for name in average)
    assert any(not torch.equal(found[name], model[name]) for name in model)


def test_the_files_are_those_that_are_promised(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "README.md", "SHA256SUMS", "config.json", "train_config.toml", "model.safetensors", "entropy_model.bin",
        "entropy_model.json", "dynamics.bin", "metrics.jsonl", "loss.svg",
    }  # fmt: skip
    listed = dict(line.split("  ")[::-1] for line in (folder / SUMS).read_text().splitlines())
    assert listed == {name: sha256((folder / name).read_bytes()).hexdigest() for name in names - {SUMS}}


def test_the_network_can_be_built_from_the_description_alone(folder: Path) -> None:
    content = json.loads((folder / CONFIG).read_text())
    assert content["model_type"] == "neat"
    assert content["config_hash"] == settings_hash(content)
    ours = read_config(checkpoint.find(trained_run()))
    assert content["settings"]["network"] == json.loads(ours.network.model_dump_json())
    assert content["parameters"] == sum(tensor.numel() for tensor in load_file(folder / WEIGHTS).values())


def test_nothing_tells_of_the_machine(folder: Path) -> None:
    """No path of the corpus, the run or the home of its user is in any file; names of files are."""
    corpus = str(trained_run().parent)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert corpus.encode() not in content, path.name
        assert str(Path.home()).encode() + b"/" not in content, path.name
    assert 'sources = ["train.jsonl"]' in (folder / "train_config.toml").read_text()


def test_large_models_come_in_parts(tmp_path: Path) -> None:
    whole = export(trained_run(), tmp_path / "whole").folder
    parts = export(trained_run(), tmp_path / "parts", max_shard_bytes=12_000).folder
    names = sorted(path.name for path in parts.glob("model-*.safetensors"))
    assert len(names) > 2
    assert all(name.endswith(f"-of-{len(names):05d}.safetensors") for name in names)
    index = json.loads((parts / INDEX).read_text())
    weights = load_file(whole / WEIGHTS)
    assert index["weight_map"].keys() == weights.keys()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in weights.values())
    for left, right in zip(
        neat.from_pretrained(whole).log_probs(TEXTS), neat.from_pretrained(parts).log_probs(TEXTS), strict=True
    ):
        assert torch.equal(left, right)


def test_equal_large_tensors_are_stored_once_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copied_run(tmp_path)
    folder = checkpoint.find(run)
    tensors = load_file(folder / checkpoint.AVERAGE)
    twins = [name for name in tensors if list(tensors[name].shape) == [16, 16]][:2]
    assert len(twins) == 2
    tensors[twins[1]] = tensors[twins[0]].clone()
    rewrite(folder, checkpoint.AVERAGE, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    monkeypatch.setattr("neat.hub.weights.TIED_FROM_BYTES", 1024)
    result = export(run, tmp_path / "export").folder
    stored = load_file(result / WEIGHTS)
    assert len(set(twins) & stored.keys()) == 1
    network = neat.from_pretrained(result).network
    assert torch.equal(network.state_dict()[twins[0]], network.state_dict()[twins[1]])
    # They are two parameters of the network, so a change of one must not change the other.
    assert network.state_dict()[twins[0]].data_ptr() != network.state_dict()[twins[1]].data_ptr()


def test_the_state_of_the_dynamics_goes_along(tmp_path: Path) -> None:
    run = copied_run(tmp_path)
    rewrite(checkpoint.find(run), "dynamics.bin", lambda path: path.write_bytes(b"dynamics"))
    result = export(run, tmp_path / "export").folder
    assert (result / "dynamics.bin").read_bytes() == b"dynamics"
    neat.from_pretrained(result)


def test_a_step_can_be_chosen(tmp_path: Path) -> None:
    folder = find_checkpoint(trained_run(), 20)
    assert export(folder, tmp_path / "export").facts.step == 20
    with pytest.raises(CheckpointError, match="no checkpoint of step 7") as caught:
        find_checkpoint(trained_run(), 7)
    assert "10, 20, 30" in str(caught.value.hint)


def test_an_export_needs_no_data(tmp_path: Path) -> None:
    """A checkpoint alone, moved away from its run and its text, is enough; what only events know is not measured."""
    shutil.copytree(checkpoint.find(trained_run()), tmp_path / "alone")
    result = export(tmp_path / "alone", tmp_path / "export").folder
    assert torch.equal(neat.from_pretrained(result).log_probs(TEXTS)[0], load(trained_run()).log_probs(TEXTS)[0])
    assert "| bits per byte, held-out text | not measured |" in (result / "README.md").read_text()
    assert not (result / "loss.svg").exists()


def test_a_damaged_checkpoint_is_not_exported(tmp_path: Path) -> None:
    run = copied_run(tmp_path)
    folder = checkpoint.find(run)
    flip(folder / checkpoint.AVERAGE)
    with pytest.raises(CheckpointError, match="damaged"):
        export(folder, tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_numbers_that_are_not_finite_are_not_exported(tmp_path: Path) -> None:
    run = copied_run(tmp_path)
    folder = checkpoint.find(run)
    tensors = load_file(folder / checkpoint.AVERAGE)
    next(iter(tensors.values())).view(-1)[3] = float("nan")
    rewrite(folder, checkpoint.AVERAGE, lambda path: save_file(tensors, path))
    with pytest.raises(CheckpointError, match="not finite"):
        export(folder, tmp_path / "export")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    with pytest.raises(HubError, match="exists"):
        export(trained_run(), tmp_path / "export")


@pytest.mark.parametrize(("attack", "message"), [pytest.param(a, m, id=name) for name, a, m in attacks()])
def test_what_was_tampered_with_is_refused(attack: Callable[[Path], None], message: str, changeable: Path) -> None:
    attack(changeable)
    with pytest.raises(HubError, match=message):
        neat.from_pretrained(changeable)


def test_wrong_shapes_are_refused_before_memory_is_taken(changeable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but headers is read of a file that does not fit, also where its list of hashes was adapted."""
    other_shapes(changeable)
    monkeypatch.setattr("neat.train.exported._read", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(HubError, match="the network has"):
        neat.from_pretrained(changeable)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("a pickle was opened",)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / CONFIG).write_text('{"model_type": "neat"}')
    with pytest.raises(HubError, match="may run code"):
        neat.from_pretrained(tmp_path)


def test_weights_may_be_held_in_another_type(folder: Path) -> None:
    double = neat.from_pretrained(folder, dtype="float64")
    assert {parameter.dtype for parameter in double.network.parameters()} == {torch.float64}
    assert double.score(TEXTS[:1]).bpb == pytest.approx(neat.from_pretrained(folder).score(TEXTS[:1]).bpb, rel=1e-5)
    with pytest.raises(HubError, match="not a type of weights"):
        neat.from_pretrained(folder, dtype="int8")
