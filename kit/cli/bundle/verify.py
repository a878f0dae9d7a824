"""`speedrun bundle verify`: check the signature and files of bundles and capsules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kit.cli.bundle.answer import answer_line, describe_result
from kit.cli.bundle.options import bundle_only_option, key_option, trusted_keys
from kit.cli.options import keys_option
from kit.cli.terminal import complain, emit_json, note, say
from kit.cli.untrusted import distrust
from kit.core.bagit import is_bag
from kit.core.errors import IntegrityError, PrerequisiteError
from kit.core.text import named_once
from kit.result.keys import Trusted
from kit.result.verify import open_bundle


@click.command("verify")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@keys_option
@key_option
@bundle_only_option
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(
    paths: tuple[Path, ...], keys: Path, key_files: tuple[Path, ...], bundle_only: bool, as_json: bool
) -> int:
    """Verify the signature and files of bundles and capsules; offline.

    PATHS are bundles, directories of runs, or capsules (archives made by `pack`, or unpacked ones). A capsule
    is checked as `unpack` does, and nothing is left on the disk. For a result.json without its files, pass
    --bundle-only.

    Exit 0: intact, and signed by a trusted key. 1: intact, but a key is untrusted or revoked. 3: bundle not
    found. 4: verification failed; the message names the step of docs/reference/bundle.md. Whether the run
    reached its target does not matter here.

    \b
    Examples:
      speedrun bundle verify runs/r*/
      speedrun bundle verify result.json --key their-key.pem --bundle-only
      speedrun bundle verify result.capsule.tar --json
    """
    trusted = trusted_keys(keys, key_files)
    answers = [_answer(path, trusted, bundle_only) for path in paths]
    for answer in answers:
        if answer["error"] is not None:
            complain(named_once(Path(answer["path"]), answer["error"]), answer["hint"])
        elif not as_json:
            _tell(answer)
    if as_json:
        emit_json({"results": answers})
    worst: int = max(answer["exit"] for answer in answers)
    return worst


def _answer(path: Path, trusted: Trusted, bundle_only: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"path": str(path), "error": None, "hint": ""}
    try:
        return answer | _verified(path, trusted, bundle_only)
    except (IntegrityError, PrerequisiteError) as e:
        return answer | {
            "error": e.message,
            "hint": e.hint,
            "exit": 4 if isinstance(e, IntegrityError) else 3,
        }


def _verified(path: Path, trusted: Trusted, bundle_only: bool) -> dict[str, Any]:
    if is_bag(path):
        from kit.cli.bundle.capsule import capsule_answer  # imports what a bundle does not need

        return capsule_answer(path, trusted, bundle_only)
    return describe_result(open_bundle(path, trusted, bundle_only))


def _tell(answer: dict[str, Any]) -> None:
    """Print what is known of one result, and what the reader can do about its key."""
    say(answer_line(answer))
    path = Path(answer["path"])
    if answer["kind"] == "capsule":
        from kit.cli.bundle.capsule import tell_capsule

        tell_capsule(answer)
        return
    if answer["unchecked_steps"]:
        note(f"  checked: {', '.join(answer['checked'])}")
        note("  not checked: the submission, its output and its timestamps, and the claims against them")
    if not answer["trusted"]:
        distrust(path if path.is_dir() else path.parent, revoked=answer["revoked"] is not None)
