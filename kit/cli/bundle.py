"""`speedrun bundle`: verify signed results and read them. Takes no part in making them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.options import keys_option

if TYPE_CHECKING:
    from kit.result.keys import Trusted
    from kit.result.verify import VerifiedBundle

key_option = click.option(
    "--key",
    "key_files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Trust this PEM public key, and no key folder. May be given again.",
)
alone_option = click.option(
    "--bundle-only",
    is_flag=True,
    help="Leave out the files beside the bundle (step 6, and the log in step 7).",
)


@click.group()
def command() -> None:
    """Verify signed results and read them.

    \b
    Examples:
      speedrun bundle verify runs/<run_id>
      speedrun bundle show runs/<run_id>/result.json
    """


@command.command("verify")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@keys_option
@key_option
@alone_option
@click.option("--json", "as_json", is_flag=True, help="Answers as JSON on stdout.")
def verify(
    paths: tuple[Path, ...], keys: Path, key_files: tuple[Path, ...], bundle_only: bool, as_json: bool
) -> int:
    """Verify bundles, given as files or as run folders; offline.

    Exit 0: the bytes are what a trusted key signed. 1: they are what their key signed, but that key is not
    trusted. 3: there is no bundle. 4: refused; the message names the step of docs/reference/bundle.md.
    Whether the target was reached does not matter here.

    \b
    Examples:
      speedrun bundle verify runs/r*/
      speedrun bundle verify result.json --key their-key.pem --json
    """
    from kit.cli.terminal import complain, distrust, emit_json

    trusted = _trusted(keys, key_files)
    answers = [_answer(path, trusted, bundle_only) for path in paths]
    for answer in answers:
        if answer["error"] is not None:
            complain(f"{answer['path']}: {answer['error']}", answer["hint"])
        elif not as_json:
            click.echo(_line(answer))
            if not answer["trusted"]:
                path = Path(answer["path"])
                distrust(path if path.is_dir() else path.parent)
    if as_json:
        emit_json({"results": answers})
    worst: int = max(answer["exit"] for answer in answers)
    return worst


def _trusted(keys: Path, key_files: tuple[Path, ...]) -> Trusted:
    from kit.result.keys import Trusted, read_public, trusted

    return Trusted(tuple(read_public(path) for path in key_files)) if key_files else trusted(keys)


def _answer(path: Path, trusted: Trusted, bundle_only: bool) -> dict[str, Any]:
    from kit.core.errors import IntegrityError, PrerequisiteError
    from kit.result.appraisal.trust import assess_tier
    from kit.result.verify import open_bundle

    answer: dict[str, Any] = {"path": str(path), "error": None, "hint": ""}
    try:
        found = open_bundle(path, trusted, bundle_only)
    except (IntegrityError, PrerequisiteError) as e:
        return answer | {
            "error": e.message,
            "hint": e.hint,
            "exit": 4 if isinstance(e, IntegrityError) else 3,
        }
    p = found.predicate
    return answer | {
        "exit": 0 if found.trusted else 1,
        "trusted": found.trusted,
        "key_id": found.key_id,
        "unchecked_steps": list(found.unchecked),
        "run_id": p.run.id,
        "record": p.task.record,
        "verdict": p.score.verdict.value,
        "ranked": p.score.ranked,
        "tier": assess_tier(p, found.trusted).tier.value,
    }


def _line(answer: dict[str, Any]) -> str:
    from kit.cli.terminal import printable

    word = "ok" if answer["trusted"] else "valid, but the key is not trusted"
    files = " (files beside it not checked)" if answer["unchecked_steps"] else ""
    return printable(
        f"{answer['path']}: {word}{files}; key {answer['key_id'][:16]}; record {answer['record']},"
        f" {answer['verdict']}, {'ranked' if answer['ranked'] else 'unranked'}; tier {answer['tier']}"
    )


@command.command("show")
@click.argument("path", type=click.Path(path_type=Path))
@keys_option
@key_option
@alone_option
@click.option("--json", "as_json", is_flag=True, help="The verified predicate as JSON on stdout.")
def show(path: Path, keys: Path, key_files: tuple[Path, ...], bundle_only: bool, as_json: bool) -> None:
    """Verify a bundle, then print what it says and how far that can be trusted.

    \b
    Examples:
      speedrun bundle show runs/<run_id>
      speedrun bundle show result.json --bundle-only --json
    """
    from kit.cli.terminal import emit_json
    from kit.result.verify import open_bundle

    found = open_bundle(path, _trusted(keys, key_files), bundle_only)
    if as_json:
        emit_json(_as_json(found))
    else:
        from kit.cli.result_text import describe

        click.echo(describe(found))


def _as_json(found: VerifiedBundle) -> dict[str, Any]:
    from kit.core.codec import encode
    from kit.result.appraisal.trust import assess_tier
    from kit.result.predicate import Predicate

    where = assess_tier(found.predicate, found.trusted)
    return {
        "key_id": found.key_id,
        "trusted": found.trusted,
        "tier": where.tier.value,
        "missing_for_next_tier": where.missing,
        "predicate": encode(Predicate, found.predicate),
    }


@command.command("schema")
@click.argument("name", default="result.v1")
@click.option("--list", "list_names", is_flag=True, help="List the names of all schemas.")
def schema(name: str, list_names: bool) -> None:
    """Print a JSON Schema (2020-12); by default that of a bundle's payload.

    \b
    Examples:
      speedrun bundle schema
      speedrun bundle schema --list
    """
    from kit.cli.terminal import emit_json
    from kit.core.schema import load_schema, schema_names

    if list_names:
        click.echo("\n".join(schema_names()))
    else:
        emit_json(load_schema(name))
