"""`speedrun submit`: a result into a shared repository, and the check that waits there. Ranks nobody."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "check": "Check every submission below FOLDER/submissions, all findings at once; offline.",
    "send": (
        "Lay a run or a series out as a submission: in a folder, or as a pull request to "
        "a dataset of the Hub."
    ),
}


class WithDefault(LazyGroup):
    """A group whose first word may be left out: `submit RUN` is `submit send RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `send` in front of what names no command."""
        if args and args[0] not in (*self.summaries, "-h", "--help"):
            args = ["send", *args]
        return super().parse_args(ctx, args)


@click.group("submit", cls=WithDefault, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Submit results, and check submissions.

    \b
    Examples:
      speedrun submit runs/<run_id> --agent my-agent --to ../leaderboard
      speedrun submit runs/<run_id> --agent my-agent --to hf://owner/leaderboard
      speedrun submit check ../leaderboard
    """
