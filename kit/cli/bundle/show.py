"""`speedrun bundle show`: print a verified bundle and its trust tier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kit.cli.bundle.options import bundle_only_option, key_option, trusted_keys
from kit.cli.options import keys_option
from kit.cli.result_text import format_bundle
from kit.cli.terminal import emit_json, say_document
from kit.core.codec import encode
from kit.result.appraisal.trust import assess_tier
from kit.result.revocations import Revocation
from kit.result.verify import STEPS, VerifiedBundle, open_bundle


@click.command("show")
@click.argument("path", type=click.Path(path_type=Path))
@keys_option
@key_option
@bundle_only_option
@click.option("--json", "as_json", is_flag=True, help="Print the verified contents as JSON.")
def command(path: Path, keys: Path, key_files: tuple[Path, ...], bundle_only: bool, as_json: bool) -> None:
    """Verify a bundle and print its trust tier and contents.

    A line that begins with `?` is a claim of the signer that this command could not check.

    \b
    Examples:
      speedrun bundle show runs/<run_id>
      speedrun bundle show result.json --bundle-only --json
    """
    bundle = open_bundle(path, trusted_keys(keys, key_files), bundle_only)
    if as_json:
        emit_json(_as_json(bundle))
    else:
        say_document(format_bundle(bundle))


def _as_json(bundle: VerifiedBundle) -> dict[str, Any]:
    where = assess_tier(bundle.predicate, bundle.trusted)
    return {
        "key_id": bundle.key_id,
        "trusted": bundle.trusted,
        "revoked": encode(Revocation, bundle.revoked),
        "verified_steps": [number for number in range(len(STEPS)) if number not in bundle.unchecked],
        "unchecked_steps": list(bundle.unchecked),
        "tier": where.tier.value,
        "missing_for_next_tier": where.missing,
        "signer_says_of_it": where.said,
        "predicate": bundle.document["predicate"],
    }
