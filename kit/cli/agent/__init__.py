"""`speedrun agent`: let a model search for faster training scripts."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "export": "Write a run as a trajectory that other tools read.",
    "show": "Show a run: its tree, one node, or the best FSR so far.",
    "verify": "Verify a run: journal, calls, bundles, sums and the signed summary.",
}


@click.group("agent", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Let a model search for faster training scripts.

    A run is a directory: journal.jsonl has every event, calls/ every request and answer, nodes/ every script,
    bundles/ every signed result, and summary.json a signed list of all nodes.

    \b
    Examples:
      speedrun agent show agent-runs/<id>
      speedrun agent verify agent-runs/<id>
    """
