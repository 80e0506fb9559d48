"""The commands: `neat <command>` and the console scripts of the most used ones.

A command is a module with `configure(parser)` and `run(arguments) -> exit code`. Only the module of the command
that is asked for is imported, and it imports what is heavy inside `run`, so that `--help` is immediate. This file
turns whatever can go wrong into a message and an exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

import neat
from neat.errors import Exit, NeatError, OutOfMemoryError, UsageError, printable, render

COMMANDS = {
    "train": "train a model, or go on with a run",
    "eval": "bits per byte of a trained model on text, and tasks",
    "generate": "write text with a trained model",
    "report": "a page about a run, or several compared",
    "upload": "publish a checkpoint on a model hub",
    "profile": "where the time of a training step goes",
    "plan": "what a configuration will need, without training",
    "tune": "choose learning rates, momentum and batch by short branches",
    "credit": "what a setting is worth, asked of a run in its middle",
    "monitor": "watch runs in the terminal",
    "data": "look into text files, make entropy models",
    "config": "show, check and compare configurations",
    "doctor": "what this machine offers",
}

_MODULES = {"eval": "evaluate"}


def main(argv: Sequence[str] | None = None) -> int:
    """`neat COMMAND …`; returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    return _guarded(lambda: _dispatch(words))


def neat_train() -> int:
    """The console script `neat-train`."""
    return _guarded(lambda: _run("train", "neat-train", sys.argv[1:]))


def neat_eval() -> int:
    """The console script `neat-eval`."""
    return _guarded(lambda: _run("eval", "neat-eval", sys.argv[1:]))


def neat_generate() -> int:
    """The console script `neat-generate`."""
    return _guarded(lambda: _run("generate", "neat-generate", sys.argv[1:]))


def neat_profile() -> int:
    """The console script `neat-profile`."""
    return _guarded(lambda: _run("profile", "neat-profile", sys.argv[1:]))


def neat_monitor() -> int:
    """The console script `neat-monitor`."""
    return _guarded(lambda: _run("monitor", "neat-monitor", sys.argv[1:]))


def neat_data() -> int:
    """The console script `neat-data`."""
    return _guarded(lambda: _run("data", "neat-data", sys.argv[1:]))


def neat_upload() -> int:
    """The console script `neat-upload`."""
    return _guarded(lambda: _run("upload", "neat-upload", sys.argv[1:]))


def _dispatch(words: Sequence[str]) -> int:
    command = words[0] if words else "--help"
    if command in ("-h", "--help", "help"):
        print(_overview())
        return Exit.DONE
    if command == "--version":
        print(neat.__version__)
        return Exit.DONE
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean neat {near[0]}?" if near else "`neat --help` lists the commands"
        raise UsageError(f"{command[:80]} is not a command", hint=hint)
    return _run(command, f"neat {command}", words[1:])


def _overview() -> str:
    lines = [f"  {name:<10}{text}" for name, text in COMMANDS.items()]
    head = "usage: neat COMMAND ...\n\nTrains byte-level language models.\n\ncommands:"
    return "\n".join([head, *lines, "", "`neat COMMAND --help` tells more."])


def _run(command: str, prog: str, words: Sequence[str]) -> int:
    from neat.cli.arguments import Parser  # argparse is not needed for --version

    module = import_module(f"neat.cli.{_MODULES.get(command, command)}")
    parser = Parser(prog=prog, description=module.__doc__)
    module.configure(parser)
    return int(module.run(parser.parse_args(words)))


def _guarded(command: Callable[[], int]) -> int:
    """Runs a command; every failure becomes a message on stderr and an exit code, never a traceback."""
    try:
        code = int(command())
        sys.stdout.flush()
        return code
    except NeatError as error:
        return _report(error)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough. Point stdout elsewhere, so that closing it stays silent too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic in the native part is not an Exception
        return _report_unexpected(error)


def _report(error: NeatError) -> int:
    if os.environ.get("NEAT_TRACEBACK"):
        _print_traceback()
    print(render(error), file=sys.stderr)
    return error.exit_code


def _report_unexpected(error: BaseException) -> int:
    if _is_out_of_memory(error):
        hint = "lower train.micro_batch_bytes (the step stays the same), or take a smaller model"
        return _report(OutOfMemoryError(str(error).splitlines()[0][:200] if str(error) else "no memory left", hint))
    if os.environ.get("NEAT_TRACEBACK"):
        _print_traceback()
    text = printable(" ".join(str(error).split()))[:500]
    print(f"internal error: {type(error).__name__}: {text}", file=sys.stderr)
    print("\nhint: this is a fault of the program; NEAT_TRACEBACK=1 shows where it happened", file=sys.stderr)
    return Exit.INTERNAL


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _is_out_of_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
