"""`speedrun agent verify`: check a run's directory against its signed summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.agent.summary import SUMMARY
from kit.cli.bundle.options import key_option, trusted_keys
from kit.cli.extras import require_score
from kit.cli.options import keys_option
from kit.cli.terminal import emit_json, fail, note, say
from kit.cli.untrusted import distrust
from kit.core.text import counted, one_line

if TYPE_CHECKING:
    from kit.agent.verify import RunCheck
    from kit.result.keys import Trusted

MAX_UNNAMED = 20


@click.command("verify")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@keys_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(folder: Path, keys: Path, key_files: tuple[Path, ...], as_json: bool) -> int:
    """Verify a run: journal, calls, bundles, sums and the signed summary.

    Checks the chain of the journal and its last line, the spec, every recorded request and answer, every
    script and every signed bundle, and counts tokens, costs, times and the best node again. Bundles and calls
    that the journal does not name are listed. In a cumulative run, each stage is checked, and that it starts
    with the winner of the stage before. Nothing is changed and nothing is run.

    Exit 0: intact, and signed by a trusted key. 1: no fault, but the key is untrusted, or there is no
    summary, so nothing shows that the journal's last lines are there. 3: no run found. 4: a check failed.

    \b
    Examples:
      speedrun agent verify agent-runs/<id>
      speedrun agent verify agent-runs/<id> --key their-key.pem --json
    """
    require_score()
    from kit.agent.chain import is_chain
    from kit.agent.verify import verify_run

    if is_chain(folder):
        return _verify_chain(folder, trusted_keys(keys, key_files), as_json)
    check = verify_run(folder, trusted_keys(keys, key_files))
    code = 4 if check.faults else 0 if check.trusted else 1
    if as_json:
        emit_json({"path": str(folder), "exit": code, **_document(check)})
        return code
    for fault in check.faults:
        fail(fault)
    for name in check.unnamed[:MAX_UNNAMED]:
        note(f"not named by the journal: {one_line(name)}")
    if len(check.unnamed) > MAX_UNNAMED:
        note(f"not named by the journal: {len(check.unnamed) - MAX_UNNAMED} more")
    if not check.faults:
        _tell(folder, check)
    return code


def _verify_chain(folder: Path, trusted: Trusted, as_json: bool) -> int:
    from kit.agent.chain_file import CHAIN, verify_chain

    check = verify_chain(folder, trusted)
    code = 4 if check.faults else 0 if check.trusted else 1
    stages = 0 if check.chain is None else len(check.chain.stages)
    if as_json:
        end = check.chain.end if check.chain else None
        key = check.signed.key_id if check.signed else None
        about = {"faults": list(check.faults), "stages": stages, "end": end, "key_id": key}
        emit_json({"path": str(folder), "exit": code, **about, "trusted": check.trusted})
        return code
    for fault in check.faults:
        fail(fault)
    if not check.faults:
        of = f"{stages} of {counted(len(check.spec.tasks), 'stage')}"
        say(f"{folder}: intact: {of} ended")
        if check.signed is None:
            note(f"warning: there is no {CHAIN}: nothing shows that no stage is missing")
        elif not check.trusted:
            distrust(folder)
    return code


def _tell(folder: Path, check: RunCheck) -> None:
    assert check.run is not None  # noqa: S101 - a journal that cannot be read is a fault
    nodes, winner = len(check.run.tree.nodes), check.run.tree.winner()
    best = "no valid node" if winner is None else f"best node {winner}"
    say(f"{folder}: intact: {counted(nodes, 'node')}, {counted(len(check.run.lines), 'line')}, {best}")
    if check.summary is None:
        note(f"warning: there is no {SUMMARY}: nothing shows that the last lines of the journal are there")
    elif not check.trusted:
        distrust(folder)


def _document(check: RunCheck) -> dict[str, Any]:
    run, signed = check.run, check.summary
    return {
        "faults": list(check.faults),
        "unnamed": list(check.unnamed),
        "run": signed.summary.run if signed else None,
        "nodes": len(run.tree.nodes) if run else None,
        "lines": len(run.lines) if run else None,
        "head": run.contents.head if run else None,
        "ended": run.tree.ended is not None if run else None,
        "winner": run.tree.winner() if run else None,
        "summary": signed is not None,
        "key_id": signed.key_id if signed else None,
        "trusted": check.trusted,
    }
