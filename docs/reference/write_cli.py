"""Writes `cli.md` from the commands' own help, as `make reference`. Describes nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from kit.cli import speedrun

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100
HEAD = """# Commands

Written by `make reference` from what `--help` prints. Change the commands, not this page.

Exit codes: 0 yes; 1 done, and the answer is no; 2 usage; 3 something is missing; 4 bytes are not what was
promised; 5 the kit could not do it; 130 interrupted, and the guest is gone. stdout is for machines, stderr
for people.
An option that takes a value can be set in the environment: `SPEEDRUN_EVAL_RUNTIME=docker` stands for
`speedrun eval --runtime docker`.
"""


def commands(command: click.Command, parent: click.Context | None, name: str) -> Iterator[click.Context]:
    """Yield the context of a command and of all below it, in the order of their names."""
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH, **command.context_settings}
    command._help_option = None  # click keeps it from the first context, which may have been another
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None:
                yield from commands(found, context, below)


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for context in commands(speedrun, None, "speedrun"):
        level = "##" if context.parent is None or context.parent.parent is None else "###"
        parts.append(f"{level} {context.command_path}\n\n```text\n{context.get_help()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
