"""Writes docs/reference/threat-model.md from the attacks' headers and the outcomes that a run recorded."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from typing import Any

from suite import REPOSITORY, Attack, Came, Recorded, load, to_json

from kit.audit.registry import CHECKS

KEPT = REPOSITORY / "docs" / "reference" / "threat-model.json"
PAGE = REPOSITORY / "docs" / "reference" / "threat-model.md"

PATTERNS = {
    1: "a false loss or time is printed",
    2: "log or figures do not come from the script",
    3: "the log addresses a language model that reads it",
    4: "training on validation tokens",
    5: "training data are made again, from validation data",
    6: "fewer, other or masked validation tokens",
    7: "a look ahead at the target",
    8: "probabilities that do not sum to 1",
    9: "trained weights or leftovers of earlier runs",
    10: "work outside the timed part",
    11: "training while the clock is stopped for validation",
    12: "a clock that is replaced or slowed",
    13: "a loss that is bent between ranks, or is no number",
    14: "deadlines ignored, processes left behind",
    15: "other hardware than is said",
    16: "many seeds tried, runs left out",
    17: "checkpoints chosen by the validation loss",
    18: "compiler options that are forbidden",
    19: "an attack on the kit's own files",
    20: "keys, sockets, networks",
    21: "another behaviour where it is tested",
    22: "precomputed tables",
    23: "a false exit status",
    24: "another's result, or an old one, handed in again",
}
ELSEWHERE = {
    15: "Full profile only: NVML is read on the host, before and after. The guest's own words are not read.",
    16: "Runs that are left out: an operator's attack. Ids are reserved before a start, and `score` counts all.",
    24: "An operator's attack: the nonce binds only where a verifier issued it; a listing refuses a log twice.",
}
"""What a guest of the smoke profile cannot show."""
OPERATOR = (
    ("makes up a bundle of any content", "not caught", "A signature says who, not that it happened. Only another key's reproduction binds him."),
    ("changes a signed bundle, its log or its script", "caught", "`bundle verify`: one bad asset for each of its steps."),
    ("signs with a key that the reader does not trust", "caught", "The tier stays self-reported."),
    ("leaves audits out", "caught", "Only checks that ran count; the tier falls."),
    ("picks the seed of canary and window, and shows the script beforehand", "not caught", "Unless a verifier issues it: `--audit-seed`."),
    ("starts many runs and shows the best", "flagged", "Ids are reserved in order; missing ones are seen only by who holds the folder."),
    ("runs on another machine than he says", "not caught", "The figures of the probe are his own words, too."),
    ("patches the kit", "not caught", "Version and commit are his own words, too."),
)  # fmt: skip
TABLE = (
    ("honest_trainer", "honest"),
    ("printed_constant", "printed constant"),
    ("look_ahead", "look-ahead"),
    ("unnormalised", "unnormalised"),
    ("gated_leak", "gated leak"),
    ("last_step_only", "last step only"),
)
TEXTURES = ("uniform", "ngram", "model")
ORDER = (Came.CONTAINED, Came.CAUGHT, Came.FLAGGED, Came.NOT_CAUGHT, Came.ESCAPED, Came.HONEST)


def keep(runtime: str, found: list[Recorded]) -> None:
    """Keep the outcomes of one runtime beside those of others, and write the page."""
    with PAGE.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        kept[runtime] = {**kept.get(runtime, {}), **{r.name: to_json(r) for r in found}}
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        PAGE.write_text(page(load(), kept))


def page(attacks: list[Attack], kept: dict[str, dict[str, Any]]) -> str:
    """Return the page for these attacks and outcomes; runtime -> name -> outcome."""
    parts = [_head(attacks, kept), _losses(kept), _attacks(attacks, kept), _patterns(attacks, kept)]
    return "\n\n".join([*parts, _operator(), _limits(attacks, kept), _checks()]) + "\n"


def _head(attacks: list[Attack], kept: dict[str, dict[str, Any]]) -> str:
    lines = [
        "# Threat model",
        "",
        "Written by `make hostile` from what came of running every attack of `tests/hostile/attacks/` for real, in",
        "the smoke profile. Change the attacks or the checks, not this page.",
        "",
        "There are two adversaries. The *guest* is the submission: it is contained, and its claims are audited. The",
        "*operator* owns key, clock and machine: nothing that he signs alone binds him.",
        "",
        "* **contained**: it got nothing. No way out, nothing left running, no score.",
        "* **caught**: a fatal check failed; the result says refused.",
        "* **flagged**: the result stands and says what is odd, or the time is corrected.",
        "* **not caught**: the result stands.",
        "",
        "| runtime | attacks | " + " | ".join(c.value for c in ORDER[:5]) + " | minutes |",
        "|---|---:|" + "---:|" * 6,
    ]
    names = {a.name for a in attacks if a.expect != Came.HONEST}
    for runtime, outcomes in sorted(kept.items()):
        mine = [o for n, o in outcomes.items() if n in names]
        counts = Counter(o["came"] for o in mine)
        minutes = sum(o["wall_s"] for o in outcomes.values()) / 60
        cells = " | ".join(str(counts[c.value]) for c in ORDER[:5])
        lines.append(f"| {runtime} | {len(mine)} | {cells} | {minutes:.1f} |")
    return "\n".join(lines)


def _losses(kept: dict[str, dict[str, Any]]) -> str:
    lines = [
        "## Canary losses",
        "",
        "Lowest and, in brackets, last validation loss that each script claimed on each stream, in nats per token. Every",
        "rerun went to its end; the first loss is ln 256 = 5.545 for an honest script. **Bold**: below the bound, which is the floor less 5 standard errors and 0.05. See [the canary](../concepts/canary.md).",
        "",
    ]
    for runtime, outcomes in sorted(kept.items()):
        present = [(n, title) for n, title in TABLE if n in outcomes and outcomes[n]["canary"]]
        if not present:
            continue
        floors = outcomes[present[0][0]]["floors"]
        heads = " | ".join(f"{t} (floor {floors.get(t, 0):.3f})" for t in TEXTURES)
        lines += [f"| {runtime} | its claim | {heads} | caught by |", "|---|---:|---:|---:|---:|---|"]
        for name, title in present:
            o = outcomes[name]
            cells = [_loss(o, t) for t in TEXTURES]
            by = ", ".join(f"`{c}`" for c in o["failed"] if c == "floor" or c.startswith("canary")) or "-"
            lines.append(f"| {title} | {_number(o['loss'])} | {' | '.join(cells)} | {by} |")
        lines.append("")
    lines += [
        "The unnormalised script shows its half nat where an honest loss is near the floor: in the first line on noise, all",
        "along on samples of a model. The gated leak shows why a canary must look like text, the last-step cheat why it must run to its",
        "end. In the smoke profile `floor` sees most of them in the run itself, because the smoke language is a canary.",
    ]
    return "\n".join(lines)


def _loss(outcome: dict[str, Any], texture: str) -> str:
    if texture not in outcome["canary"]:
        return "-"
    failed = any(c.startswith("canary") and c.endswith(texture) for c in outcome["failed"])
    number = _number(outcome["canary"][texture])
    last = _number(outcome.get("last", {}).get(texture))
    return f"**{number}** ({last})" if failed else f"{number} ({last})"


def _number(loss: float | None) -> str:
    return "-" if loss is None else f"{loss:.4f}"


def _attacks(attacks: list[Attack], kept: dict[str, dict[str, Any]]) -> str:
    lines = ["## What the guest may try"]
    for kind, title in (("score", "False scores"), ("containment", "The machine, the log and its reader")):
        runtimes = sorted(kept)
        lines += ["", f"### {title}", ""]
        lines += [
            "| attack | " + " | ".join(runtimes) + " | how, and what was measured |",
            "|---|" + "---|" * (len(runtimes) + 1),
        ]
        for attack in attacks:
            if attack.kind != kind or attack.expect == Came.HONEST:
                continue
            came = " | ".join(
                kept[r][attack.name]["came"] if attack.name in kept[r] else "not run" for r in runtimes
            )
            first = next(
                (kept[r][attack.name] for r in ("runc", *runtimes) if r in kept and attack.name in kept[r]),
                None,
            )
            lines.append(f"| {attack.title} (`{attack.name}`) | {came} | {_how(attack, first)} |")
    return "\n".join(lines)


def _how(attack: Attack, outcome: dict[str, Any] | None) -> str:
    if outcome is None:
        return attack.note or "-"
    said = []
    if attack.kind == "score":
        if outcome["failed"] and outcome["came"] != Came.NOT_CAUGHT:
            said.append(", ".join(f"`{c}`" for c in outcome["failed"]))
        if outcome["loss"] is not None and not attack.args:
            said.append(f"claims {outcome['loss']:.4f}; tier {outcome['tier']}")
        said += _figures(outcome)
    else:
        said.append(f"{outcome['status']}; nothing left {outcome['kill_s']:.2f} s after its end")
    if attack.note:
        said.append(attack.note)
    return ". ".join(s.rstrip(".") for s in said) + "."


def _figures(outcome: dict[str, Any]) -> list[str]:
    f, failed = outcome["figures"], outcome["failed"]
    said = []
    if "baseline.excess.excess_s" in f and "baseline.excess" in failed:
        said.append(f"{f['baseline.excess.excess_s']:.1f} s are added to its time")
    if "baseline.warmup" in failed:
        said.append(
            f"{f['baseline.warmup.candidate_s']:.1f} s of warm-up, bound {f['baseline.warmup.bound_s']:.1f} s"
        )
    if "baseline.validation" in failed:
        mine, theirs = f["baseline.validation.candidate_s"], f["baseline.validation.baseline_s"]
        said.append(f"a validation takes {mine:.2f} s, the start script's {theirs:.2f} s")
    if "canary.versus_baseline" in failed:
        mine, theirs = f["canary.versus_baseline.candidate_loss"], f["canary.versus_baseline.baseline_loss"]
        said.append(f"on noise {mine:.3f}, the start script {theirs:.3f}")
    if "trace.pace" in failed:
        said.append(f"shows {f['trace.pace.claimed_s']:.1f} s of the host's {f['trace.pace.host_s']:.1f} s")
    if "trace.clock" in failed:
        said.append(f"gains {f['trace.clock.worst_gain_s']:.1f} s between two lines")
    return said


def _patterns(attacks: list[Attack], kept: dict[str, dict[str, Any]]) -> str:
    lines = [
        "## The 24 known patterns",
        "",
        "| # | pattern | attacks and what came of them |",
        "|---:|---|---|",
    ]
    outcomes = kept.get("runc") or next(iter(kept.values()), {})
    for number, title in PATTERNS.items():
        mine = [a for a in attacks if number in a.patterns]
        said = [f"`{a.name}` {outcomes[a.name]['came'] if a.name in outcomes else 'not run'}" for a in mine]
        if number in ELSEWHERE:
            said.append(ELSEWHERE[number])
        lines.append(f"| {number} | {title} | {'; '.join(said)} |")
    return "\n".join(lines)


def _operator() -> str:
    lines = ["## What the operator may try", "", "| attack | outcome | why |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {came} | {why} |" for a, came, why in OPERATOR)])


def _limits(attacks: list[Attack], kept: dict[str, dict[str, Any]]) -> str:
    lines = [
        "## Known limits",
        "",
        "* A leak that is smaller than what an honest loss is above the floor, plus the tolerance, passes every canary.",
        "  In the smoke profile that is about 0.23 nats; it is published with each canary, as `lowest_loss` less `bound`.",
        "* A script that was written against the canary can tell samples of a model from text, and behave there.",
        "* Phases are declared by the guest. Work before its clock starts is bounded and added to its time, no more.",
        "* The source rules read names. Code that hides its names passes them; they find the careless, not the careful.",
        "* Training on whatever is mounted for validation is flagged on noise only, and passes the held-out window.",
    ]
    outcomes = kept.get("runc") or next(iter(kept.values()), {})
    passed = [a for a in attacks if outcomes.get(a.name, {}).get("came") == Came.NOT_CAUGHT]
    named = [f"* Not caught: `{a.name}` ({a.title[0].lower()}{a.title[1:]})." for a in passed]
    return "\n".join([*lines, *named])


def _checks() -> str:
    lines = ["## The checks", "", "| check | if it fails | sees | cannot see |", "|---|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| `{c.id}` | {c.severity} | {c.sees} | {c.cannot_see or '-'} |" for c in CHECKS)]
    )
