"""`speedrun bundle verify`: check the signature and files of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kit.cli.bundle.options import bundle_only_option, key_option, trusted_keys
from kit.cli.options import keys_option
from kit.cli.terminal import complain, emit_json, say
from kit.cli.untrusted import distrust
from kit.core.codec import encode
from kit.core.errors import IntegrityError, PrerequisiteError
from kit.result.appraisal.trust import assess_tier
from kit.result.keys import Trusted
from kit.result.revocations import Revocation
from kit.result.verify import open_bundle
from kit.values.task_id import listed_as


@click.command("verify")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@keys_option
@key_option
@bundle_only_option
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(
    paths: tuple[Path, ...], keys: Path, key_files: tuple[Path, ...], bundle_only: bool, as_json: bool
) -> int:
    """Verify the signature and files of bundles; offline.

    PATHS are bundles or the directories of runs.

    Exit 0: intact, and signed by a trusted key. 1: intact, but the key is untrusted or revoked. 3: bundle not
    found. 4: verification failed; the message names the step of docs/reference/bundle.md. Whether the run
    reached its target does not matter here.

    \b
    Examples:
      speedrun bundle verify runs/r*/
      speedrun bundle verify result.json --key their-key.pem --json
    """
    trusted = trusted_keys(keys, key_files)
    answers = [_answer(path, trusted, bundle_only) for path in paths]
    for answer in answers:
        if answer["error"] is not None:
            complain(f"{answer['path']}: {answer['error']}", answer["hint"])
        elif not as_json:
            say(_line(answer))
            if not answer["trusted"]:
                path = Path(answer["path"])
                distrust(path if path.is_dir() else path.parent, revoked=answer["revoked"] is not None)
    if as_json:
        emit_json({"results": answers})
    worst: int = max(answer["exit"] for answer in answers)
    return worst


def _answer(path: Path, trusted: Trusted, bundle_only: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"path": str(path), "error": None, "hint": ""}
    try:
        bundle = open_bundle(path, trusted, bundle_only)
    except (IntegrityError, PrerequisiteError) as e:
        return answer | {
            "error": e.message,
            "hint": e.hint,
            "exit": 4 if isinstance(e, IntegrityError) else 3,
        }
    p = bundle.predicate
    return answer | {
        "exit": 0 if bundle.trusted else 1,
        "trusted": bundle.trusted,
        "key_id": bundle.key_id,
        "revoked": encode(Revocation, bundle.revoked),
        "unchecked_steps": list(bundle.unchecked),
        "run_id": p.run.id,
        "record": listed_as(p.task.id),
        "verdict": p.score.verdict.value,
        "ranked": p.score.ranked,
        "tier": assess_tier(p, bundle.trusted).tier.value,
    }


def _line(answer: dict[str, Any]) -> str:
    word = "ok" if answer["trusted"] else "valid, but the key is not trusted"
    if answer["revoked"] is not None:
        word = f"signed by a revoked key ({Revocation(**answer['revoked']).describe()})"
    files = " (files beside the bundle not checked)" if answer["unchecked_steps"] else ""
    return (
        f"{answer['path']}: {word}{files}; key {answer['key_id'][:12]}; record {answer['record']},"
        f" {answer['verdict']}, {'ranked' if answer['ranked'] else 'unranked'}; tier {answer['tier']}"
    )
