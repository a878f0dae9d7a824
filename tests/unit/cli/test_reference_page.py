"""The page of commands is what the commands say."""

import importlib.util
from pathlib import Path

WRITER = Path(__file__).parents[3] / "docs" / "reference" / "write_cli.py"


def test_the_page_of_commands_is_the_one_that_their_help_gives():
    spec = importlib.util.spec_from_file_location("write_cli", WRITER)
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), "write it again: make reference"
