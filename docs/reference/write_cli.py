"""Write `cli.md` from the help texts of the commands; `make reference` runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from kit.cli import speedrun

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100
HEAD = """# Commands

`make reference` writes this page from the output of `--help`. Change the commands, not this page.

Exit codes: 0 yes; 1 done, and the answer is no; 2 usage error; 3 something is missing; 4 verification
failed; 5 other failure; 130 interrupted, and the guest has been stopped. stdout is for machines, stderr is
for people.
Every option can also be set in the environment: `SPEEDRUN_EVAL_RUNTIME=docker` has the effect of
`speedrun eval --runtime docker`, and `SPEEDRUN_EVAL_PLAN=1` that of `speedrun eval --plan`.
A file `speedrun.toml` can give defaults: see [settings](settings.md).
"""


def commands(command: click.Command, parent: click.Context | None, name: str) -> Iterator[click.Context]:
    """Yield the context of a command and of all below it, in the order of their names."""
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH, **command.context_settings}
    command._help_option = None  # click caches it from the first context, which may have been another one
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            subcommand = command.get_command(context, below)
            if subcommand is not None:
                yield from commands(subcommand, context, below)


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for context in commands(speedrun, None, "speedrun"):
        level = "##" if context.parent is None or context.parent.parent is None else "###"
        parts.append(f"{level} {context.command_path}\n\n```text\n{context.get_help()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
