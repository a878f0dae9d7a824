"""`speedrun submit`: prepare and check leaderboard entries."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "check": "Check every entry in a repository; offline.",
    "send": "Prepare a run or a series as an entry.",
}


class WithDefault(LazyGroup):
    """A group whose first word may be left out: `submit RUN` is `submit send RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `send` if the first word is not a command."""
        if args and args[0] not in (*self.summaries, "-h", "--help"):
            args = ["send", *args]
        return super().parse_args(ctx, args)


@click.group("submit", cls=WithDefault, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Prepare and check leaderboard entries.

    `submit RUN` is short for `submit send RUN`.

    \b
    Examples:
      speedrun submit runs/<run_id> --agent my-agent --to ../leaderboard
      speedrun submit runs/<run_id> --agent my-agent --to hf://owner/leaderboard
      speedrun submit check ../leaderboard
    """
