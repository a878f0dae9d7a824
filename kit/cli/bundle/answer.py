"""Word what `speedrun bundle verify` says about one verified result."""

from __future__ import annotations

from typing import Any

from kit.core.codec import encode
from kit.result.appraisal.trust import assess_tier
from kit.result.revocations import Revocation
from kit.result.verify import STEPS, VerifiedBundle
from kit.values.task_id import listed_as


def describe_result(bundle: VerifiedBundle) -> dict[str, Any]:
    """Return the answer about a bundle with a valid signature."""
    p = bundle.predicate
    return {
        "kind": "bundle",
        "exit": 0 if bundle.trusted else 1,
        "trusted": bundle.trusted,
        "key_id": bundle.key_id,
        "revoked": encode(Revocation, bundle.revoked),
        "unchecked_steps": list(bundle.unchecked),
        "checked": [name for number, name in enumerate(STEPS) if number not in bundle.unchecked],
        "run_id": p.run.id,
        "record": listed_as(p.task.id),
        "verdict": p.score.verdict.value,
        "ranked": p.score.ranked,
        "tier": assess_tier(p, bundle.trusted).tier.value,
    }


def answer_line(answer: dict[str, Any]) -> str:
    """Return the line about a result: whether it is trusted, and what it says."""
    word = "ok" if answer["trusted"] else "valid, but the key is not trusted"
    if answer["revoked"] is not None:
        word = f"signed by a revoked key ({Revocation(**answer['revoked']).describe()})"
    files = " (files beside the bundle not checked)" if answer["unchecked_steps"] else ""
    kind = "capsule; " if answer["kind"] == "capsule" else ""
    return (
        f"{answer['path']}: {word}{files}; {kind}key {answer['key_id'][:12]}; record {answer['record']},"
        f" {answer['verdict']}, {'ranked' if answer['ranked'] else 'unranked'}; tier {answer['tier']}"
    )
