"""The page of commands is what the commands say."""

from pathlib import Path

from python_file import load_file

WRITER = Path(__file__).parents[3] / "docs" / "reference" / "write_cli.py"


def test_the_page_of_commands_is_the_one_that_their_help_gives():
    writer = load_file("write_cli", WRITER)
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), "write it again: make reference"
