"""The help names every preset; it cannot ask for them without loading what makes it slow."""

from __future__ import annotations

import argparse

from neat.cli.arguments import add_config_options
from neat.config.load import PRESETS


def test_the_help_of_config_names_every_preset() -> None:
    parser = argparse.ArgumentParser()
    add_config_options(parser, required=True)
    (option,) = [action for action in parser._actions if action.dest == "config"]
    assert (option.help or "").startswith(", ".join(PRESETS) + ", or ")
