"""The whole report: every number from the events, everything else said to be missing."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.recorded import HOSTILE, Entry, append, steps, write_run

from neat.cli import main
from neat.errors import DataError, UsageError
from neat.events.lock import RunLock
from neat.events.reader import effective, read_events
from neat.report.build import compose, read_runs, target, write
from neat.report.csvfile import write_csv
from neat.report.document import NOT_MEASURED, Absent, Facts, Report, Table
from neat.report.html import page
from neat.report.markdown import markdown
from neat.report.sections.ablation import read_arms
from neat.report.sections.overview import figures, state

SECTIONS = [
    "overview", "loss", "phases", "forecast", "optimisation", "machine", "components", "ablation", "samples",
    "configuration", "environment", "checkpoints", "alerts", "metrics",
]  # fmt: skip
PLOTS = {
    "loss", "phases", "credit", "corrector", "forecast-error-20", "forecast-error-100", "gain", "learning-rate",
    "gradient-norm", "throughput", "time-share", "utilisation", "power", "gradients", "parameters", "patch-lengths",
    "halting", "memory", "component-norms", "delta-norm",
}  # fmt: skip


class Elements(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def report_of(*roots: Path, ablation: Path | None = None) -> Report:
    return compose(read_runs(list(roots)), ablation)


def facts_of(root: Path) -> dict[str, str]:
    return dict(figures(read_runs([root])[0]))


def test_every_section_and_plot_is_there(full: Path) -> None:
    report = report_of(full)
    assert [section.name for section in report.sections] == SECTIONS
    names = [plot.name for plot in report.plots]
    assert set(names) >= PLOTS
    assert len(set(names)) == len(names)
    text = "".join(page(report))
    assert Elements(text).tags.count("figure") == len(names)
    for name in SECTIONS:
        assert f'<section id="{name}">' in text
        assert f'<a href="#{name}">' in text


def test_key_figures_are_those_of_the_events(full: Path) -> None:
    events = effective(list(read_events(full / "events.jsonl")))
    evals = [(event.step, float(str(event.data["eval/bpb"]))) for event in events if event.type == "eval"]
    speeds = [float(str(event.data["perf/bytes_per_s"])) for event in events if event.type == "step"]
    loads = [float(str(event.data["gpu/0/utilisation"])) for event in events if event.type == "system"]
    best = min(evals, key=lambda pair: pair[1])
    facts = facts_of(full)
    assert facts["held-out bits per byte"] == f"{evals[-1][1]:.4f}"
    assert facts["best held out"] == f"{best[1]:.4f} (step {best[0]})"
    assert facts["steps"] == "420 of 400"
    assert facts["bytes per second"].startswith(f"{sum(speeds) / len(speeds) / 1000:.4g}"[:4])
    assert facts["GPU utilisation, mean"] == f"{sum(loads) / len(loads):.0f} %"
    jumps = [event.data["accepted"] for event in events if event.type == "jump"]
    assert facts["jumps taken, refused"] == f"{jumps.count(True)}, {jumps.count(False)}"
    assert facts["rollbacks"] == facts["alerts"] == "1"


def test_what_no_event_holds_is_not_measured(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [("heartbeat", 0, {})])
    report = report_of(run)
    missing = {block.what for section in report.sections for block in section.blocks if isinstance(block, Absent)}
    expected = "loss phases forecasts throughput halting memory samples checkpoints probes ablation uploads"
    assert missing >= {*expected.split(), "patch lengths", "gradients by layer", "learning rate"}
    assert report.plots == []
    (facts,) = [block for block in report.sections[0].blocks if isinstance(block, Facts)]
    shown = dict(facts.rows)
    assert {name for name, value in shown.items() if value != NOT_MEASURED} == {"steps", "time alive", "alerts"}
    text = Elements("".join(page(report))).text
    assert text.count(NOT_MEASURED) >= 20
    digits = re.sub(r"ln 256|\d+ bytes", "", "".join(dict(facts.rows).values()))
    assert set(re.findall(r"\d+", digits)) <= {"0"}


def test_the_milestones_are_in_bits_and_begin_at_the_beginning(full: Path) -> None:
    table = next(block for block in report_of(full).sections[1].blocks if isinstance(block, Table))
    first, last = table.rows[0], table.rows[-1]
    losses = [event for event in read_events(full / "events.jsonl") if event.type == "step"]
    assert first[0] == "1"
    assert last[0] == "420"
    assert float(first[1]) == pytest.approx(float(str(losses[0].data["train/loss"])), abs=1e-4)
    assert float(last[2]) == pytest.approx(float(str(losses[-1].data["train/bpb"])), abs=1e-4)
    assert "ln 256 = 5.545" in table.caption


def test_the_timeline_is_that_of_the_phases(full: Path) -> None:
    report = report_of(full)
    (plot,) = [plot for plot in report.plots if plot.name == "phases"]
    spans = {lane.name: list(lane.spans) for lane in plot.lanes}  # type: ignore[union-attr]
    assert list(spans) == ["WARMUP", "FULL", "PREDICT", "CORRECT"]
    assert spans["CORRECT"][0] == (100, 108)
    assert len(spans["PREDICT"]) == 9
    signs = [mark.sign for mark in plot.marks]  # type: ignore[union-attr]
    assert (signs.count("accepted"), signs.count("refused"), signs.count("rollback")) == (5, 4, 1)
    text = "".join(page(report))
    assert "the credit ledger is spent" in text


def test_hostile_text_stays_text(full: Path) -> None:
    text = "".join(page(report_of(full)))
    found = Elements(text)
    assert "script" not in found.tags
    assert "img" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in found.text
    assert not set("\x00\x1b\u202e") & set(text)
    assert "script-src" not in text
    assert "default-src 'none'" in text.replace("&#x27;", "'")


@pytest.mark.parametrize("key", ["reason", "message", "name", "path", "repo", "device", "component"])
def test_no_event_injects_anything(tmp_path: Path, key: str) -> None:
    words = {key: HOSTILE, "reason": HOSTILE, "message": HOSTILE, "to": HOSTILE, "from": HOSTILE, HOSTILE: 1.0}
    kinds = ("run", "phase", "jump", "rollback", "correct", "probe", "alert", "request", "upload", "checkpoint",
             "activation", "stage", "budget", "end", "step", "eval", "system")  # fmt: skip
    entries = [(kind, 1, {**words, "accepted": kind != "phase", "severity": "error"}) for kind in kinds]
    entries += [("phase", 1, {"from": HOSTILE, "to": HOSTILE, "accepted": True, "reason": HOSTILE})]
    entries += [("system", 1, {"gpu/0/name": HOSTILE, f"gpu/{HOSTILE}/power_w": 3.0, "gpu/0/power_w": 1.0})]
    tables = ("grad_norm/layer", "grad_norm/component", "time/share", "parameters", "patch/lengths")
    entries += [("components", 1, {name: {HOSTILE: 2.0} for name in tables})]
    entries += [("dynamics", 1, {"gain": [1.0], "kinds": [HOSTILE], "horizons": [HOSTILE], "coverage": [0.5]})]
    run = write_run(tmp_path / "run", entries)
    record = json.loads((run / "run.json").read_text())
    record["versions"][HOSTILE], record["command"] = HOSTILE, [HOSTILE]
    (run / "run.json").write_text(json.dumps(record))
    report = report_of(run)
    found = Elements("".join(page(report)))
    assert not {"script", "img"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    inline = re.sub(r"```+text\n.*?\n```+\n", "", "".join(markdown(report, {})), flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<(script|img)", inline)
    paths = write(report, target(tmp_path / "out", run, ["html", "md"]), ["svg"])
    assert all(path.is_relative_to(tmp_path / "out") for path in paths)


def test_the_page_asks_for_nothing(full: Path) -> None:
    text = "".join(page(report_of(full)))
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "url(" not in text
    assert "@import" not in text


def test_markdown_says_the_same(full: Path) -> None:
    report = report_of(full)
    text = "".join(markdown(report, {"loss": "plots/loss.svg"}))
    assert "![Bits per byte](plots/loss.svg)" in text
    for section in report.sections:
        assert f"\n## {section.title}\n" in text
    for name, value in figures(read_runs([full])[0]):
        assert f"| {name} | {value} |" in text
    assert "````text\nOnce upon " in text
    assert "```" not in re.sub(r"^(`{3,})text\n.*?\n\1\n", "", text, flags=re.DOTALL | re.MULTILINE)


def test_runs_are_compared(full: Path, trained: Path) -> None:
    runs = read_runs([trained, full])
    assert [run.label for run in runs] == ["trained", "full"]
    report = compose(runs)
    table = report.sections[0].blocks[0]
    assert isinstance(table, Table)
    assert list(table.columns) == ["", "trained", "full"]
    assert {row[0]: row[1:] for row in table.rows}["GPU utilisation, mean"] == [NOT_MEASURED, "93 %"]
    (loss,) = [plot for plot in report.plots if plot.name == "loss"]
    assert {"trained · training", "full · training"} <= {line.name for line in loss.lines}  # type: ignore[union-attr]
    names = [plot.name for plot in report.plots]
    assert len(set(names)) == len(names)
    assert {"run1-gradients", "run2-gradients"} <= set(names)


def test_what_differs_between_runs_is_shown_first(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", steps(2), ("optim.lr=0.01",))
    two = write_run(tmp_path / "b", steps(2), ("optim.lr=0.02",))
    section = next(s for s in report_of(one, two).sections if s.name == "configuration")
    table = section.blocks[0]
    assert isinstance(table, Table)
    assert ["optim.lr", "0.01", "0.02"] in [list(row) for row in table.rows]


def test_a_resumed_run_counts_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(20))
    append(run / "events.jsonl", [("run", 10, {}), ("resume", 10, {}), *steps(2, start=11)], first=21)
    record = read_runs([run])[0]
    assert (record.step, record.superseded, record.metric("step", "train/bpb").count) == (12, 10, 12)


def test_the_state_of_a_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [("run", 0, {}), *steps(3)])
    assert state(read_runs([run])[0]).startswith("ended without a word")
    lock = RunLock(run / "run.lock")
    try:
        assert state(read_runs([run])[0]).startswith("running; last event")
    finally:
        lock.release()
    append(run / "events.jsonl", [("end", 3, {"reason": "finished", "exit_code": 0})], first=5)
    assert state(read_runs([run])[0]).startswith("finished, 2027-01-15")
    append(run / "events.jsonl", [("run", 3, {}), ("resume", 3, {})], first=6)
    assert state(read_runs([run])[0]).startswith("ended without a word")


def test_only_time_with_a_process_counts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(10))
    append(run / "events.jsonl", [("run", 10, {}), ("step", 11, {})], first=5000)
    assert read_runs([run])[0].alive_s == pytest.approx(10.0)


def test_a_report_does_without_configuration_and_record(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(3))
    (run / "config.toml").write_text("not = [toml")
    (run / "run.json").unlink()
    report = report_of(run)
    missing = {block.what for section in report.sections for block in section.blocks if isinstance(block, Absent)}
    assert {"configuration", "versions and machine"} <= missing
    assert "".join(page(report))


def test_differences_to_the_preset_come_first(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(2), ("optim.lr=0.125",))
    record = json.loads((run / "run.json").read_text())
    record["command"] = ["neat", "train", "--config", "tiny", "--set", "optim.lr=0.125"]
    (run / "run.json").write_text(json.dumps(record))
    section = next(s for s in report_of(run).sections if s.name == "configuration")
    table = section.blocks[0]
    assert isinstance(table, Table)
    assert table.columns[1] == "preset tiny"
    assert {row[0] for row in table.rows} == {"name", "optim.lr"}


def test_the_table_has_a_row_for_every_step(full: Path, tmp_path: Path) -> None:
    file = io.StringIO()
    rows = write_csv(full, file)
    events = [event for event in effective(list(read_events(full / "events.jsonl"))) if event.type == "step"]
    table = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert rows == len(table) == len(events)
    assert set(table[0]) == {"step", "time", "mono", "seq"} | {key for event in events for key in event.data}
    for row, event in zip(table, events, strict=True):
        assert int(row["step"]) == event.step
        for key, value in event.data.items():
            shown = row[key]
            assert shown == ("" if value is None else value if isinstance(value, str) else repr(value)), key


def test_the_table_leaves_out_what_was_superseded(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(20))
    extra = [("run", 10, {}), ("resume", 10, {}), ("step", 11, {"new": "=1+1", "gone": float("nan"), "list": [1, "a"]})]
    append(run / "events.jsonl", extra, first=21)
    file = io.StringIO()
    assert write_csv(run, file) == 11
    last = list(csv.DictReader(io.StringIO(file.getvalue())))[-1]
    assert (last["new"], last["gone"], last["list"]) == ("'=1+1", "", '[1, "a"]')


def test_arms_of_an_ablation(tmp_path: Path) -> None:
    file = tmp_path / "arms.json"
    rows = [{"arm": "all", "bpb": 1.5}, {"arm": "all", "bpb": 1.7}, {"arm": "no memory", "bpb": 1.8}, {"arm": "bad"}]
    file.write_text(json.dumps({"results": rows}))
    assert read_arms(file) == ("bpb", {"all": [1.5, 1.7], "no memory": [1.8]})
    run = write_run(tmp_path / "run", steps(3))
    (plot,) = [plot for plot in report_of(run, ablation=file).plots if plot.name == "ablation"]
    bars = {bar.label: (bar.value, bar.error) for bar in plot.bars}  # type: ignore[union-attr]
    assert bars["all"] == (0.0, pytest.approx(0.1))
    assert bars["no memory"] == (pytest.approx(0.2), None)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"results": [1]}', '{"results": [{"arm": "a"}]}', "[" * 9999])
def test_no_ablation(tmp_path: Path, content: str) -> None:
    file = tmp_path / "arms.json"
    file.write_text(content)
    with pytest.raises(DataError):
        read_arms(file)
    with pytest.raises(DataError, match="cannot read"):
        read_arms(tmp_path / "nothing")


def test_too_many_and_equal_runs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(1))
    with pytest.raises(UsageError, match="named twice"):
        read_runs([run, tmp_path / "." / "run"])
    with pytest.raises(UsageError, match="too many"):
        read_runs([tmp_path / str(n) for n in range(9)])


def test_the_command_writes_files(full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(full), "--out", str(tmp_path / "r"), "--plots", "svg"]) == 0
    printed = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert printed[:2] == [tmp_path / "r" / "report.html", tmp_path / "r" / "report.md"]
    assert all(path.stat().st_size > 0 for path in printed)
    assert tmp_path / "r" / "plots" / "loss.svg" in printed
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (tmp_path / "r" / "report.md").read_text())
    assert len(links) == len(printed) - 2
    assert all((tmp_path / "r" / link).is_file() for link in links)
    assert main(["report", str(full), "--out", str(tmp_path / "one.html"), "--format", "html"]) == 0
    assert (tmp_path / "one.html").is_file()
    assert main(["report", str(full), "--csv", str(tmp_path / "steps.csv")]) == 0
    assert capsys.readouterr().out.endswith("steps.csv: 420 rows\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["RUN/nothing"], 4, "there is no run"),
        (["RUN", "--format", "pdf"], 2, "--format pdf is not known"),
        (["RUN", "--format", ","], 2, "names no format"),
        (["RUN", "--plots", "gif"], 2, "--plots gif is not known"),
        (["RUN", "--out", "RUN/x.html"], 2, "is one file"),
        (["RUN", "--out", "RUN/config.toml/x"], 2, "cannot write to"),
        (["RUN", "--out", "/proc/x.md", "--format", "md"], 2, "cannot write"),
        (["RUN", "RUN", "--csv", "x"], 2, "a table is made of one run"),
        (["RUN", "--csv", "RUN/nothing/x.csv"], 2, "cannot write"),
        (["RUN", "--ablation", "RUN/config.toml"], 3, "is not JSON"),
    ],
)
def test_mistakes_are_answered(
    tmp_path: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", steps(2))
    assert main(["report", *(word.replace("RUN", str(run)) for word in words)]) == code
    told = capsys.readouterr().err
    assert said in told
    assert "hint:" in told
    assert "Traceback" not in told


def crowded(count: int) -> Iterator[Entry]:
    """Steps at each of which everything happens."""
    for step in range(1, count + 1):
        metrics = {f"group/metric_{index}": step % (7 + index) for index in range(6)}
        yield "step", step, {"train/bpb": 2 + step % 7, "train/loss": 1.0, "train/phase": "FULL", **metrics}
        yield "phase", step, {"from": "FULL", "to": "PREDICT" if step % 2 else "FULL", "accepted": True}
        yield "phase", step, {"from": "FULL", "to": "PREDICT", "accepted": False, "reason": f"reason {step}"}
        yield "jump", step, {"accepted": step % 3 == 0, "reason": f"reason {step}"}
        yield "components", step, {"patch/lengths": {"3": 4}, "grad_norm/layer": {f"latent.layers.{step}": 1.0}}
        yield "alert", step, {"severity": "warning", "message": f"alert {step}"}


def test_the_page_stays_small_however_long_the_run(tmp_path: Path) -> None:
    report = report_of(write_run(tmp_path / "run", crowded(4000)))
    assert len(report.plots) < 12
    assert len("".join(page(report))) < 700_000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        run = write_run(tmp_path / str(count), crowded(count))
        tracemalloc.start()
        try:
            read_runs([run])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # By 2500 steps every curve has all its columns, and the reader holds a whole piece of the file.
    assert peak(6000) < 1.15 * peak(2500)


def test_where_the_weights_came_from_is_told(tmp_path: Path) -> None:
    rows = [["hidden matrices", "muon", 10, 0.01, 0.1, "momentum 0.9"], ["hash tables", "row-wise adagrad", 5, 0.5]]
    facts = {"from": "runs/small", "parameters/before": 10, "parameters/after": 20, "notes": ["other patches"]}
    run = write_run(tmp_path / "run", [("run", 0, {"optimizers": rows}), ("growth", 0, facts), *steps(2)])
    section = next(s for s in report_of(run).sections if s.name == "environment")
    tables = {block.caption: block for block in section.blocks if isinstance(block, Table)}
    assert [list(row)[-1] for row in tables["Optimizers"].rows] == ["momentum 0.9", ""]
    grown = tables["The first weights were taken over from another run"]
    assert ("from", "runs/small") in list(grown.rows)
    assert ("notes", "other patches") in list(grown.rows)


def test_without_phase_events_the_steps_tell_the_phase(tmp_path: Path) -> None:
    entries = [("step", step, {"train/phase": "WARMUP" if step <= 20 else "FULL"}) for step in (1, 10, 20, 30)]
    record = read_runs([write_run(tmp_path / "run", entries)])[0]
    assert record.lanes.spans("WARMUP") == [(0, 20)]
    assert record.lanes.spans("FULL") == [(20, 30)]
    assert record.lanes.steps == {"WARMUP": 20, "FULL": 10}


def test_the_calibration_is_that_of_the_last_dynamics_event(full: Path) -> None:
    section = next(s for s in report_of(full).sections if s.name == "forecast")
    table = section.blocks[0]
    assert isinstance(table, Table)
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert rows["20"] == ["0.03", "0.05", "0.02", "0.91", "20"]
    assert rows["100"] == ["0.06", "0.09", "0.04", "0.84", "4"]
    assert "step 420" in table.caption
