"""Export, upload, download: the same model, by branch, tag and cache; what was changed on the way is refused."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from fakehub.api import STRANGER
from fakehub.server import FakeHub
from fakehub.store import Blob
from huggingface_hub import ModelCard, constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory
from support.exports import trained_run
from support.hub import REPO, queued, states

import neat
from neat.cli import main
from neat.errors import Exit, HubError
from neat.evaluate.load import load_all
from neat.hub.export import export
from neat.hub.worker import work
from neat.train.exported import SUMS, WEIGHTS

TEXTS = [b"She walked to the harbour and said nothing.", b"\x00\xff\xfe"]


def same(left: object, right: object) -> bool:
    pairs = zip(left.log_probs(TEXTS), right.log_probs(TEXTS), strict=True)  # type: ignore[attr-defined]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def uploaded(hub: FakeHub, tmp_path: Path) -> FakeHub:
    spool, _ = queued(tmp_path)
    work(spool, 1)
    assert states(spool) == ["started", "done"]
    set_client_factory(default_client_factory)  # a program that loads a model has the client's own
    return hub


def test_what_comes_back_is_the_model_of_the_run(uploaded: FakeHub) -> None:
    assert same(neat.from_pretrained(REPO), neat.load(trained_run()))
    assert same(neat.NeatModel.from_pretrained(REPO, "step-00000030"), neat.load(trained_run()))
    assert same(neat.load(f"hf:{REPO}@step-00000030"), neat.load(trained_run()))
    assert load_all(Path(f"hf:{REPO}")).step == 30


def test_commands_take_an_address(uploaded: FakeHub, corpus: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["generate", f"hf:{REPO}", "--prompt", "The ", "--max-bytes", "9", "--device", "cpu"]) == 0
    assert len(capfdbinary.readouterr().out) == 9
    words = ["eval", f"hf:{REPO}@step-00000030", "--data", str(corpus / "valid.jsonl"), "--json", "--device", "cpu"]
    assert main(words) == 0
    assert json.loads(capfdbinary.readouterr().out)["step"] == 30
    assert main(["generate", "hf:ann/none"]) == Exit.HUB
    assert b"no repository ann/none" in capfdbinary.readouterr().err


def test_the_repository_is_private_and_has_the_files_of_a_dry_run(uploaded: FakeHub, tmp_path: Path) -> None:
    repo = uploaded.repos[REPO]
    assert repo.private
    local = export(trained_run(), tmp_path / "export", repo=REPO)
    there = repo.commits[repo.branches["main"]].files
    assert there.keys() == {*local.sums, ".gitattributes"}
    for name in (WEIGHTS, "entropy_model.bin", "config.json", "loss.svg"):
        assert there[name].lfs == local.sums[name] or there[name].data == (local.folder / name).read_bytes(), name


def test_the_card_passes_the_validator_of_the_hub(uploaded: FakeHub, tmp_path: Path) -> None:
    ModelCard((export(trained_run(), tmp_path / "export", license="mit").folder / "README.md").read_text()).validate()
    with pytest.raises(ValueError, match="license"):
        ModelCard("---\nlicense: my-own\n---\n").validate()


def test_a_second_load_can_do_without_the_hub(uploaded: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = neat.from_pretrained(REPO)
    uploaded.requests.clear()
    assert same(first, neat.from_pretrained(REPO, local_files_only=True))
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        assert same(first, neat.load(f"hf:{REPO}"))
    assert uploaded.requests == []
    with monkeypatch.context() as gone:
        gone.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(HubError) as caught:
            neat.from_pretrained(REPO)
        assert "HF_HUB_OFFLINE=1" in str(caught.value.hint)
    with pytest.raises(HubError, match="not in the cache"):
        neat.from_pretrained("ann/other", local_files_only=True)


def test_nothing_but_the_files_of_an_export_is_downloaded(uploaded: FakeHub) -> None:
    uploaded.repos[REPO].edit("pytorch_model.bin", b"\x80\x04pickle")
    uploaded.repos[REPO].edit("modeling_neat.py", b"print('code')")
    uploaded.requests.clear()
    neat.from_pretrained(REPO)
    assert not [request for request in uploaded.requests if ".py" in request or "pytorch_model" in request]


def test_an_edited_file_is_refused(uploaded: FakeHub) -> None:
    """Somebody with access changes one file of the repository and forgets, or does not know of, the list of hashes."""
    config = uploaded.repos[REPO].find("main").files["config.json"].data  # type: ignore[union-attr]
    assert config is not None
    uploaded.repos[REPO].edit("config.json", config.replace(b'"step": 30', b'"step": 31'))
    with pytest.raises(HubError, match="config"):
        neat.from_pretrained(REPO)
    assert same(neat.from_pretrained(REPO, "step-00000030"), neat.load(trained_run()))


def test_weights_exchanged_with_their_hash_are_refused(uploaded: FakeHub, tmp_path: Path) -> None:
    """An attacker adapts the list of hashes, but the weights belong to another configuration."""
    repo = uploaded.repos[REPO]
    files = dict(repo.commits[repo.branches["main"]].files)
    foreign = export(trained_run() / "checkpoints" / "step-00000020", tmp_path / "foreign").folder
    data = (foreign / WEIGHTS).read_bytes()
    assert files[SUMS].data is not None
    sums = dict(line.split("  ")[::-1] for line in files[SUMS].data.decode().splitlines())
    sums[WEIGHTS] = sha256(data).hexdigest()
    files[WEIGHTS] = Blob.large(sums[WEIGHTS], len(data), data, None)
    files[SUMS] = Blob.of("".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())
    repo.commit("main", "evil", "", "mallory", files)
    with pytest.raises(HubError, match="belongs to another config"):
        neat.from_pretrained(REPO)


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_file_that_is_not_the_one_its_commit_names_is_refused(uploaded: FakeHub, name: str) -> None:
    """A server, or a mirror of it, that serves what the list of hashes says, but not what was committed."""
    repo = uploaded.repos[REPO]
    files = dict(repo.commits[repo.branches["main"]].files)
    files[name] = replace(files[name], oid="0" * 40, lfs=files[name].lfs and "0" * 64)
    repo.commit("main", "same files, other names", "", "mallory", files)
    with pytest.raises(HubError, match="is not the file that commit"):
        neat.from_pretrained(REPO)


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "entropy_model.bin", SUMS])
@pytest.mark.parametrize("kind", ["corrupt", "truncate"])
def test_a_download_that_arrives_damaged_is_refused(
    uploaded: FakeHub, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    uploaded.faults.plan(kind, f"GET .*/resolve/.*/{name}", times=100)  # type: ignore[arg-type]
    with pytest.raises(HubError):
        neat.from_pretrained(REPO)


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_download_that_breaks_off_is_continued_or_repeated(
    uploaded: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    uploaded.faults.plan("reset", f"GET .*/resolve/.*/{WEIGHTS}", times=2)
    assert same(neat.from_pretrained(REPO), neat.load(trained_run()))


def test_a_model_goes_to_the_hub_again_unless_it_was_changed(
    uploaded: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the uploading process; the weights in memory must be those of the export."""
    model = neat.from_pretrained(REPO)
    commit = model.push_to_hub("ann/copy")
    assert uploaded.repos["ann/copy"].branches["main"] == commit
    assert same(neat.from_pretrained("ann/copy"), model)
    next(model.network.parameters()).data.add_(1.0)
    with pytest.raises(HubError, match="not those of the export"):
        model.push_to_hub("ann/changed")
    assert "ann/changed" not in uploaded.repos


def test_an_empty_repository_is_no_model(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="no repository ann/none"):
        neat.from_pretrained("ann/none")
    with pytest.raises(HubError, match="neither a folder nor a repository"):
        neat.from_pretrained("hf:nothing")
    spool, _ = queued(tmp_path)
    work(spool, 1)
    with pytest.raises(HubError, match="no revision of that name"):
        neat.from_pretrained(REPO, "step-00000099")


@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_private_model_needs_a_token_that_may_read_it(uploaded: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for token, message in (("", "may not see it"), (STRANGER, "may not see it"), ("hf_wrong", "does not accept")):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(HubError, match=message):
            neat.from_pretrained(REPO)


@pytest.mark.timed
@pytest.mark.parametrize("storage", ["lfs"], indirect=True)
def test_a_server_that_stalls_is_not_waited_for(uploaded: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neat.hub.load.READ_S", 0.3)
    uploaded.faults.plan("stall", "GET /api/models/", times=100, seconds=20.0)
    start = time.monotonic()
    with pytest.raises(HubError, match="does not answer"):
        neat.from_pretrained(REPO)
    assert time.monotonic() - start < 10.0
