"""The monitor on a run of a million events: first screen, whole history, memory, cost of following.

Usage: ``python benchmarks/monitor.py [--events 1000000] [--out benchmarks/results/monitor.json]``. The file is made
from a recorded step event (31 metrics, about 880 bytes a line), heartbeats and system events; every figure is
taken in a process of its own in which the real app runs without a terminal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

RECORDED = Path(__file__).resolve().parents[1] / "tests" / "golden" / "monitor" / "recorded" / "events.jsonl"
STEP_S = 0.2
"""Seconds between the step events that are appended while the cost of following is measured."""
FOLLOW_S = 30.0
SIZE = (120, 40)


def write_events(path: Path, num: int) -> None:
    """`num` events of which 80 % are steps, 10 % heartbeats and 10 % of the machine."""
    steps = [line for line in RECORDED.read_text().splitlines() if '"type":"step"' in line]
    body = json.loads(steps[-1])
    names = [key for key, value in body.items() if isinstance(value, float) and key not in ("time", "mono")]
    chooser = random.Random(1)
    step = 0
    with path.open("w") as file:
        for seq in range(1, num + 1):
            head = f'{{"v":1,"seq":{seq},"time":{1.7e9 + seq * 0.5},"mono":{seq * 0.5},'
            kind = seq % 10
            if kind == 3:
                file.write(f'{head}"type":"heartbeat","step":{step}}}\n')
            elif kind == 7:
                file.write(
                    f'{head}"type":"system","step":{step},"host/cpu":{chooser.random()},"host/memory_used_bytes":3545427968,'
                    f'"host/memory_total_bytes":25276510208,"host/process_bytes":1908256768,"disk/free_bytes":76424638464}}\n'
                )
            else:
                step += 1
                loss = 1.0 + 4.0 * (step + 10) ** -0.3 + chooser.gauss(0, 0.05)
                values = ",".join(f'"{name}":{loss if name == "train/bpb" else chooser.random()}' for name in names)
                file.write(
                    f'{head}"type":"step","step":{step},"train/bytes":{step * 2048},"train/total_steps":{num},'
                    f'"train/window":512,"train/skipped_steps":0,{values}}}\n'
                )


def last_step(path: Path) -> int:
    """The step of the last step event."""
    with path.open("rb") as file:
        file.seek(-8192, os.SEEK_END)
        return int(
            json.loads([line for line in file.read().split(b"\n")[1:-1] if b'"type":"step"' in line][-1])["step"]
        )


def measure(folder: str, last_step: int, started: float) -> None:
    """In the process that is measured: opens the run, waits for the history, follows; prints JSON."""
    from neat.events.rundir import RunPaths
    from neat.monitor.app import MonitorApp
    from neat.monitor.follow import Follower

    figures: dict[str, float] = {}

    async def main() -> None:
        follower = Follower(RunPaths(Path(folder)))
        app = MonitorApp([follower])
        async with app.run_test(size=SIZE) as pilot:
            while app.run_in_front.step != last_step or f"{last_step:,}" not in screen(app):
                await pilot.pause(0.01)
            figures["first_screen_s"] = time.time() - started
            while app.run_in_front.loaded < 1:
                await asyncio.sleep(0.2)
            figures["whole_history_s"] = time.time() - started
            await asyncio.sleep(2)
            figures["points"] = len(app.run_in_front.store.table("step"))
            begin = time.perf_counter()
            app.draw()
            app.action_show("charts")
            figures["two_screens_first_drawn_s"] = time.perf_counter() - begin
            begin = time.perf_counter()
            app.draw()
            figures["charts_drawn_again_s"] = time.perf_counter() - begin
            app.action_show("overview")
            await asyncio.sleep(1)
            figures["follow_share_of_a_core"] = await follow(Path(folder) / "events.jsonl")
            assert app.run_in_front.step > last_step
            figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    asyncio.run(main())
    print(json.dumps(figures))


def screen(app: object) -> str:
    """What the app shows."""
    strips = app.screen._compositor.render_strips()  # type: ignore[attr-defined]
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def follow(path: Path) -> float:
    """Share of a core that this process uses while another one appends a step event every `STEP_S`."""
    writer = subprocess.Popen([sys.executable, __file__, "--append", str(path)])
    await asyncio.sleep(1)
    before, begin = time.process_time(), time.perf_counter()
    await asyncio.sleep(FOLLOW_S)
    share = (time.process_time() - before) / (time.perf_counter() - begin)
    writer.kill()
    writer.wait()
    return share


def append(path: Path) -> None:
    """Appends steps until it is killed."""
    with path.open("rb") as file:
        file.seek(-4096, os.SEEK_END)
        last = json.loads(
            [line for line in file.read().split(b"\n") if b'"type":"step"' in line and line[:1] == b"{"][-1]
        )
    waiting = threading.Event()
    with path.open("ab", buffering=0) as file:
        while not waiting.wait(STEP_S):
            last["seq"] += 1
            last["step"] += 1
            last["time"] = time.time()
            file.write(json.dumps(last, separators=(",", ":")).encode() + b"\n")


def main() -> None:
    """Makes the file, measures, writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, help="where the file is made and kept; one that is there is used again")
    parser.add_argument("--append", type=Path)
    parser.add_argument("--measure", nargs=3, metavar=("RUN", "STEP", "STARTED"))
    arguments = parser.parse_args()
    if arguments.append:
        append(arguments.append)
        return
    if arguments.measure:
        measure(arguments.measure[0], int(arguments.measure[1]), float(arguments.measure[2]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        path = folder / "events.jsonl"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_events(path, arguments.events)
        last = last_step(path)
        size = path.stat().st_size
        print(f"{size / 2**20:.0f} MiB, {arguments.events} events, last step {last}", flush=True)
        command = [sys.executable, __file__, "--measure", str(folder), str(last), str(time.time())]
        figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    result = {
        "command": f"python benchmarks/monitor.py --events {arguments.events}",
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_average": os.getloadavg()[0],
        "events": arguments.events,
        "file_mib": round(size / 2**20),
        **{name: round(value, 3) for name, value in figures.items()},
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
