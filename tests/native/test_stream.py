"""WindowStream: every byte once an epoch, exact shares, exact state, and a thread that behaves."""

import json
import os
import signal
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpus_files import gzip_members, jsonl_bytes, write_parquet, zstd_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from neat._native import Corpus, Patcher, Preparer, WindowStream
from neat.errors import DataError

PREPARER = Preparer(None, Patcher("stride", stride=4), hash_orders=[2, 3], hash_rows=101)
SHAPES = [(3, 64, 20), (2, 200, 64), (5, 33, 9), (1, 16, 3)]

Batch = dict[str, np.ndarray]


def texts(count: int, seed: int = 0, longest: int = 120) -> list[str]:
    """Documents of distinct content with lengths from 10 to `longest` bytes; one in twenty is much longer."""
    random = np.random.default_rng(seed)
    lengths = random.integers(10, longest, count) * np.where(random.random(count) < 0.05, 10, 1)
    return [f"{seed}/{number}:".ljust(int(length), chr(97 + number % 26)) for number, length in enumerate(lengths)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files in all formats, of 10 kB to several blocks."""
    folder = tmp_path_factory.mktemp("stream")
    (folder / "a.jsonl").write_bytes(jsonl_bytes(texts(300, 1)))
    write_parquet(folder / "b.parquet", [None, "", *texts(200, 2)], row_group_size=30)
    (folder / "c.gz").write_bytes(gzip_members(jsonl_bytes(texts(150, 3)), 2))
    (folder / "d.zst").write_bytes(zstd_frames(jsonl_bytes(texts(8_000, 4, 300)), 3))
    (folder / "e.jsonl").write_bytes(jsonl_bytes(texts(8_000, 5, 300)))
    (folder / "f.txt").write_text("\n".join(texts(20, 6)))
    return folder


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return Corpus([[str(folder)]], seed=7, shuffle_blocks=2)


@pytest.fixture(scope="module")
def small(folder: Path) -> Corpus:
    return Corpus([[f"{folder}/a.jsonl", f"{folder}/b.parquet", f"{folder}/c.gz"]], seed=7, shuffle_blocks=3)


def equal(left: Batch, right: Batch) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def pieces(batch: Batch) -> list[tuple[int, bytes]]:
    """(input id before the piece, its target bytes) of every segment in a batch, row after row."""
    found = []
    for ids, targets, document in zip(batch["ids"], batch["targets"], batch["document"], strict=True):
        for index in range(document.max() + 1):
            where = np.flatnonzero(document == index)
            found.append((int(ids[where[0]]), bytes(targets[where].astype(np.uint8))))
    return found


def read_documents(stream: WindowStream, lanes: int, count: int) -> list[bytes]:
    """The first `count` documents to be finished, put together from the rows."""
    parts: list[list[bytes]] = [[] for _ in range(lanes)]
    done: list[bytes] = []
    row = 0
    finished = 0
    while finished < count:
        batch = stream.next(1, 128, 40)
        lane = parts[row % lanes]
        for before, piece in pieces(batch):
            if before == 256 and lane:
                done.append(b"".join(lane))
                lane.clear()
            lane.append(piece)
        row += 1
        finished = stream.statistics()["documents"]
    return done + [b"".join(lane) for lane in parts if lane]


# Order and packing


def test_an_epoch_holds_every_document_once(small: Corpus) -> None:
    expected = Counter(small.documents("all"))
    stream = WindowStream(small, PREPARER, lanes=3, prefetch=2)
    seen = read_documents(stream, 3, sum(expected.values()) * 2 + 10)
    # At most three documents of the next epoch are open before the last ones of an epoch are finished.
    once = Counter(seen)
    assert set(once) >= set(expected)
    assert all(1 <= count <= 3 for count in (once[document] for document in expected))
    assert sum(count == 2 for count in once.values()) > 0.95 * len(expected)


def test_one_lane_gives_whole_epochs_in_different_orders(small: Corpus) -> None:
    expected = sorted(small.documents("all"))
    stream = WindowStream(small, PREPARER, lanes=1)
    seen = read_documents(stream, 1, 2 * len(expected))
    first, second = seen[: len(expected)], seen[len(expected) : 2 * len(expected)]
    assert sorted(first) == sorted(second) == expected
    assert first != second and first != list(small.documents("all"))


@given(st.sampled_from(SHAPES), st.integers(1, 4), st.sampled_from(["stride", "space", "byte"]))
@settings(max_examples=25, deadline=None)
def test_rows_are_well_formed(small: Corpus, shape: tuple[int, int, int], lanes: int, rule: str) -> None:
    rows, positions, patches = shape
    stream = WindowStream(small, Preparer(None, Patcher(rule, stride=5)), lanes=lanes)
    for _ in range(4):
        batch = stream.next(*shape)
        assert batch["ids"].shape == (rows, positions) and batch["patch_length"].shape == (rows, patches)
        padding = batch["document"] == -1
        assert (batch["ids"][padding] == 258).all() and (batch["targets"][padding] == -100).all()
        assert (batch["patch"][padding] == patches - 1).all() and (batch["read"][padding] == patches - 1).all()
        assert (batch["patch"][~padding] < patches - 1).all() and (batch["targets"][~padding] >= 0).all()
        assert batch["patch_length"].sum() == (~padding).sum()
        # Padding comes last in a row, and a row is never all padding.
        assert not padding[:, 0].any() and (np.diff(padding.astype(int), axis=1) >= 0).all()


def test_segments_are_cut_at_patch_starts(small: Corpus) -> None:
    stream = WindowStream(small, PREPARER, lanes=1)
    offset = 0
    for _ in range(300):
        for before, piece in pieces(stream.next(1, 64, 20)):
            offset = 0 if before == 256 else offset
            assert offset % 4 == 0, "stride 4 opens patches at multiples of 4"
            offset += len(piece)


def test_little_is_padded(corpus: Corpus) -> None:
    stream = WindowStream(corpus, PREPARER, lanes=8)
    for _ in range(50):
        stream.next(8, 512, 160)
    statistics = stream.statistics()
    assert statistics["positions"] == 50 * 8 * 512
    assert statistics["bytes"] + statistics["padding"] == statistics["positions"]
    assert statistics["padding"] < 0.06 * statistics["positions"]


# Mixture


def test_shares_hold_in_bytes(folder: Path) -> None:
    weights = [0.5, 0.2, 0.3]
    sources = [[f"{folder}/{name}"] for name in ("a.jsonl", "d.zst", "b.parquet")]
    stream = WindowStream(Corpus(sources, weights, seed=3), PREPARER, lanes=16)
    while stream.statistics()["bytes"] < 3_000_000:
        stream.next(16, 512, 160)
    got = np.array(stream.statistics()["source_bytes"])
    assert np.abs(got / got.sum() - weights).max() < 0.01
    assert len(stream.statistics()["source_epochs"]) == 3


def test_a_source_of_weight_zero_is_not_drawn(folder: Path) -> None:
    corpus = Corpus([[f"{folder}/a.jsonl"], [f"{folder}/b.parquet"]], [1.0, 0.0])
    stream = WindowStream(corpus, PREPARER)
    stream.next(64, 256, 80)
    assert stream.statistics()["source_bytes"][1] == 0


# State


@given(
    st.integers(0, 60), st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3), st.integers(0, 3),
    st.integers(1, 5), st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_restored_stream_goes_on_exactly(
    small: Corpus, stop: int, shapes: list[tuple[int, int, int]], prefetch: int, lanes: int, weighted: bool
) -> None:
    stream = WindowStream(small, PREPARER, lanes, prefetch)
    for index in range(stop):
        stream.next(*shapes[index % len(shapes)])
    state = stream.state()
    assert len(state) < 2000
    resumed = WindowStream(small, PREPARER, lanes, 1, state)
    assert resumed.state() == state
    for index in range(12):
        shape = shapes[(stop + index) % len(shapes)]
        assert equal(stream.next(*shape), resumed.next(*shape))
    counted, again = stream.statistics(), resumed.statistics()
    assert {**counted, "wait_s": 0} == {**again, "wait_s": 0}


def test_state_over_epoch_ends_and_blocks(corpus: Corpus) -> None:
    shape = (16, 1024, 300)
    stream = WindowStream(corpus, PREPARER, 16, 3)
    batches, states = [], [stream.state()]
    while stream.statistics()["epoch"] < 2.1:
        batches.append(stream.next(*shape))
        states.append(stream.state())
    for stop in range(0, len(batches) - 2, 29):
        resumed = WindowStream(corpus, PREPARER, 16, 2, states[stop])
        for batch, state in zip(batches[stop : stop + 3], states[stop + 1 : stop + 4], strict=False):
            assert equal(resumed.next(*shape), batch)
            assert resumed.state() == state


def test_another_shape_continues_where_the_last_batch_ended(corpus: Corpus) -> None:
    ahead = WindowStream(corpus, PREPARER, 4, prefetch=4)
    plain = WindowStream(corpus, PREPARER, 4, prefetch=0)
    for index in range(40):
        shape = SHAPES[index % 3]
        assert equal(ahead.next(*shape), plain.next(*shape))
        if index % 7 == 0:
            time.sleep(0.01)
    assert ahead.state() == plain.state()


def test_the_sequence_of_rows_does_not_depend_on_the_batch(small: Corpus) -> None:
    wide, narrow = (WindowStream(small, PREPARER, 4) for _ in range(2))
    for _ in range(10):
        batch = wide.next(6, 64, 20)
        rows = [narrow.next(2, 64, 20) for _ in range(3)]
        assert equal(batch, {name: np.concatenate([row[name] for row in rows]) for name in batch})


@pytest.mark.parametrize(
    ("options", "lanes", "named"),
    [
        ({"seed": 8}, 4, "seed"),
        ({"hold_out": 0.1}, 4, "hold_out"),
        ({}, 5, "lanes"),
        ({"shuffle_blocks": 1}, 4, "shuffle_blocks"),
    ],
)
def test_a_state_of_other_settings_is_refused(folder: Path, options: dict[str, object], lanes: int, named: str) -> None:
    path = [[f"{folder}/a.jsonl"]]
    state = WindowStream(Corpus(path), PREPARER, 4).state()
    with pytest.raises(DataError, match=f"saved with {named} =") as caught:
        WindowStream(Corpus(path, **options), PREPARER, lanes, state=state)
    assert named in caught.value.hint


def test_a_state_of_other_data_is_refused_and_moved_files_are_not(folder: Path, tmp_path: Path) -> None:
    state = WindowStream(Corpus([[f"{folder}/a.jsonl"]]), PREPARER).state()
    with pytest.raises(DataError, match="other data"):
        WindowStream(Corpus([[f"{folder}/e.jsonl"]]), PREPARER, state=state)
    moved = tmp_path / "renamed"
    moved.write_bytes((folder / "a.jsonl").read_bytes())
    WindowStream(Corpus([[str(moved)]]), PREPARER, state=state)


@pytest.mark.parametrize("damage", ["", "{}", '{"version": 2}', "[]", '{"version": 1, "x": 2}'])
def test_a_damaged_state_is_refused(small: Corpus, damage: str) -> None:
    with pytest.raises(DataError, match="state"):
        WindowStream(small, PREPARER, state=damage)


def test_an_impossible_offset_is_refused(small: Corpus) -> None:
    stream = WindowStream(small, PREPARER, 1)
    stream.next(1, 16, 8)
    state = json.loads(stream.state())
    state["lanes"][0] = [0, 10**9]
    damaged = WindowStream(small, PREPARER, 1, state=json.dumps(state))
    with pytest.raises(DataError, match="not the document it was"):
        damaged.next(1, 16, 8)


# What is left out


def test_held_out_and_excluded_documents_are_not_drawn(folder: Path) -> None:
    corpus = Corpus([[f"{folder}/a.jsonl"]], hold_out=0.3)
    stream = WindowStream(corpus, PREPARER, lanes=1, skip_hash_below=0.5)
    drawn = set(read_documents(stream, 1, 300)[:300])
    left_out = set(corpus.documents("held_out")) | set(corpus.documents("all", hash_below=0.5))
    assert drawn == set(corpus.documents("all")) - left_out
    statistics = stream.statistics()
    assert statistics["skipped_held_out"] > 0 and statistics["skipped_excluded"] > 0


def test_nothing_to_draw_is_an_error_not_a_loop(folder: Path) -> None:
    stream = WindowStream(Corpus([[f"{folder}/a.jsonl"]], hold_out=1.0), PREPARER)
    with pytest.raises(DataError, match="no document can be drawn"):
        stream.next(1, 64, 20)


def test_bad_rows_in_parquet_stop_or_are_counted(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x", [b"good " * 5] * 20 + [b"\xff"], kind=pa.binary())
    stream = WindowStream(Corpus([[str(path)]]), PREPARER, lanes=1, prefetch=0)
    with pytest.raises(DataError, match="row 21: invalid UTF-8"):
        for _ in range(100):
            stream.next(1, 64, 20)
    with pytest.raises(DataError, match="row 21"):
        for _ in range(100):
            stream.next(1, 64, 20)
    corpus = Corpus([[str(path)]], on_bad_row="skip")
    stream = WindowStream(corpus, PREPARER)
    for _ in range(20):
        stream.next(4, 64, 20)
    assert stream.statistics()["skipped_bad"] > 1
    assert corpus.num_bad_rows == 1


# The thread


def prefetch_threads() -> int:
    tasks = Path("/proc/self/task").glob("*/comm")
    return sum(task.read_text().strip() == "neat-prefetch" for task in tasks)


def test_no_thread_before_the_first_batch_and_none_after_close(small: Corpus) -> None:
    before = prefetch_threads()
    stream = WindowStream(small, PREPARER)
    assert prefetch_threads() == before
    stream.next(*SHAPES[0])
    assert prefetch_threads() == before + 1
    state = stream.state()
    stream.close()
    stream.close()
    assert prefetch_threads() == before
    assert stream.state() == state
    with pytest.raises(DataError, match="closed"):
        stream.next(*SHAPES[0])
    dropped = WindowStream(small, PREPARER)
    dropped.next(*SHAPES[0])
    del dropped
    assert prefetch_threads() == before


def test_the_gil_is_released_while_waiting(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip_members(jsonl_bytes(["x" * 20_000] * 8_000)))
    stream = WindowStream(Corpus([[str(path)]]), PREPARER, lanes=64, prefetch=0)
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    began = time.perf_counter()
    for _ in range(3):
        stream.next(256, 8192, 2400)
    ended = time.perf_counter()
    done.set()
    ticker.join()
    inside = [began, *(at for at in ticks if began < at < ended), ended]
    assert ended - began > 0.05, "too quick to tell"
    assert max(later - earlier for earlier, later in pairwise(inside)) < 0.5 * (ended - began)


def test_waiting_can_be_interrupted_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(jsonl_bytes(["x" * 20_000] * 2_000))
    corpus = Corpus([[str(path)]])
    stream = WindowStream(corpus, PREPARER, prefetch=0)
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        stream.next(2048, 8192, 2400)
    fresh = WindowStream(corpus, PREPARER, prefetch=0)
    assert stream.state() == fresh.state()
    assert equal(stream.next(2, 64, 20), fresh.next(2, 64, 20))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_gets_an_error_not_a_hang(small: Corpus) -> None:
    stream = WindowStream(small, PREPARER)
    stream.next(*SHAPES[0])
    child = os.fork()
    if child == 0:
        try:
            stream.next(*SHAPES[0])
        except DataError as error:
            os._exit(0 if "another process" in str(error) else 1)
        os._exit(2)
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended[0] == child and os.waitstatus_to_exitcode(ended[1]) == 0
    stream.next(*SHAPES[0])


@pytest.mark.parametrize("shape", [(0, 64, 20), (1, 0, 20), (1, 64, 1)])
def test_impossible_shapes(small: Corpus, shape: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match="holds nothing"):
        WindowStream(small, PREPARER).next(*shape)
