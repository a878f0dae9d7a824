"""`speedrun agent`: let a scaffold and a model search for a faster script."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "resume": "Resume a search that was interrupted.",
    "run": "Search for a faster script with a scaffold and a model.",
}


@click.group("agent", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Let a scaffold and a model search for a faster script.

    Each node of a search is one edit and one signed evaluation. Nothing is lost if a run is interrupted.

    \b
    Examples:
      speedrun agent run --task smoke-1 --model scripted --plan
      speedrun agent resume agent-runs/RUN
    """
