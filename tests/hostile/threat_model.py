"""Write docs/reference/threat-model.md from the attacks' headers and the recorded outcomes."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from typing import Any

import lanes
from known import ELSEWHERE, OPERATOR, PATTERNS
from suite import NOISE_IN, REPOSITORY, Attack, AttackOutcome, Recorded, load, to_json
from wording import NOTES, TITLES

from kit.audit.registry import CHECKS

KEPT = REPOSITORY / "docs" / "reference" / "threat-model.json"
PAGE = REPOSITORY / "docs" / "reference" / "threat-model.md"

TABLE = (
    ("honest_trainer", "honest"),
    ("printed_constant", "printed constant"),
    ("look_ahead", "look-ahead"),
    ("unnormalised", "unnormalised"),
    ("gated_leak", "gated leak"),
    ("last_step_only", "last step only"),
)
RUNTIMES = ("runc", "docker")
TEXTURES = ("uniform", "ngram", "model")
ORDER = (
    AttackOutcome.CONTAINED,
    AttackOutcome.CAUGHT,
    AttackOutcome.FLAGGED,
    AttackOutcome.NOT_CAUGHT,
    AttackOutcome.ESCAPED,
    AttackOutcome.HONEST,
)


Kept = dict[str, dict[str, Any]]
"""Runtime -> the data of its last pass: `minutes`, `cores`, and `outcomes` by the attack's name."""


def keep(runtime: str, found: Recorded) -> None:
    """Store the outcome of one attack in one runtime, and write the page."""
    kept = _read()
    _pass(kept, runtime)["outcomes"][found.name] = to_json(found)
    _write(kept)


def timed(runtime: str, found: lanes.PassResult) -> None:
    """Store the duration of a whole pass; delete outcomes of attacks that were not in it."""
    kept, names = _read(), {r.name for r in found.outcomes}
    mine = _pass(kept, runtime)
    mine |= {
        "minutes": round(found.wall_s / 60, 1),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[2], 1),
    }
    mine["outcomes"] = {n: o for n, o in mine["outcomes"].items() if n in names}
    _write(kept)


def _read() -> Kept:
    kept: Kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return kept


def _pass(kept: Kept, runtime: str) -> dict[str, Any]:
    return kept.setdefault(runtime, {"minutes": 0.0, "cores": os.cpu_count(), "load": 0.0, "outcomes": {}})


def _write(kept: Kept) -> None:
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(load(), kept))


def page(attacks: list[Attack], kept: Kept) -> str:
    """Return the text of the page for these attacks and outcomes."""
    attacks = [replace(a, title=TITLES.get(a.name, a.title), note=NOTES.get(a.name, a.note)) for a in attacks]
    parts = [_head(attacks, kept), _losses(kept), _attacks(attacks, kept), _patterns(attacks, kept)]
    return "\n\n".join([*parts, _operator(), _limits(attacks, kept), _checks(kept)]) + "\n"


def _runtimes(kept: Kept) -> list[str]:
    """Return the runtimes in page order: runc, the embedded default, first."""
    return sorted(kept, reverse=True)


def _outcome(kept: Kept, name: str) -> dict[str, Any] | None:
    """Return an attack's outcome in the first runtime in which it ran."""
    ran = (kept[r]["outcomes"].get(name) for r in _runtimes(kept))
    return next((o for o in ran if o), None)


def _came(kept: Kept, name: str) -> str:
    """Return an attack's outcomes in all runtimes as text; once, if they are equal."""
    said = [kept[r]["outcomes"].get(name, {}).get("came", "not run") for r in _runtimes(kept)]
    return said[0] if len(set(said)) == 1 else " / ".join(said)


def _head(attacks: list[Attack], kept: Kept) -> str:
    lines = [
        "# Threat model",
        "",
        "`make hostile` runs every attack of `tests/hostile/attacks/` in the smoke profile, and writes this page from the",
        "outcomes. Do not edit it by hand; change the attacks or the checks.",
        "",
        "There are two adversaries. The *guest* is the submission: the kit isolates it and audits its claims. The",
        "*operator* controls the key, the clock and the machine, so a signature of the operator alone proves nothing",
        "about how a result was made.",
        "",
        "* **contained**: the attack gained nothing: no access to the host, no process left running, no score.",
        "* **caught**: a fatal check failed, and the result is refused.",
        "* **flagged**: the result is valid and carries a warning. Time hidden from the guest's clock is added to its time.",
        "* **not caught**: the result is valid without a warning.",
        "* **ESCAPED**: the guest did something that is forbidden, or left something behind.",
        "",
        "| runtime | attacks | " + " | ".join(c.value for c in ORDER[:5]) + " | minutes |",
        "|---|---:|" + "---:|" * 6,
    ]
    names = {a.name for a in attacks if a.expect != AttackOutcome.HONEST}
    for runtime in _runtimes(kept):
        mine = [o for n, o in kept[runtime]["outcomes"].items() if n in names]
        counts = Counter(o["came"] for o in mine)
        cells = " | ".join(str(counts[c.value]) for c in ORDER[:5])
        lines.append(f"| {runtime} | {len(mine)} | {cells} | {_minutes(kept[runtime])} |")
    if missing := [r for r in RUNTIMES if r not in kept]:
        lines += ["", f"Not run yet in: {', '.join(missing)}."]
    cores = " and ".join(sorted({str(kept[r]["cores"]) for r in kept}))
    loads = " and ".join(f"{kept[r].get('load', 0.0):.1f}" for r in _runtimes(kept) if kept[r]["minutes"])
    passed = [
        a
        for a in attacks
        if _came(kept, a.name) != AttackOutcome.CAUGHT and a.expect == AttackOutcome.NOT_CAUGHT
    ]
    lines += [
        "",
        f"Minutes were measured on a machine with {cores} cores (load average {loads}). Two attacks run at a time, except for",
        "attacks whose timing is compared. All attacks that are not caught are *adaptive*: written or tuned against this kit"
        + (f" ({', '.join(f'`{a.name}`' for a in passed)})." if passed else "."),
    ]
    return "\n".join(lines)


def _minutes(mine: dict[str, Any]) -> str:
    return f"{mine['minutes']:.1f}" if mine["minutes"] else "not all attacks were run"


def _losses(kept: Kept) -> str:
    lines = [
        "## Canary losses",
        "",
        "The table shows the lowest validation loss that each script claimed on each stream and, in brackets, the last one, in",
        "nats per token. Each script ran 100 steps instead of the smoke profile's 160, and every rerun finished. The first loss",
        "of an honest script is ln 256 = 5.545. **Bold** values are below the bound, which is the floor minus 5 standard errors",
        "minus 0.05. See [the canary](../concepts/canary.md). The loss on noise does not depend on the runtime, so the two noise",
        f"streams were run only in {NOISE_IN}.",
        "",
    ]
    for runtime in _runtimes(kept):
        outcomes = kept[runtime]["outcomes"]
        present = [(n, title) for n, title in TABLE if n in outcomes and outcomes[n]["canary"]]
        if not present:
            continue
        floors = outcomes[present[0][0]]["floors"]
        shown = [t for t in TEXTURES if t in floors]
        heads = " | ".join(f"{t} (floor {floors[t]:.3f})" for t in shown)
        lines += [f"| {runtime} | its claim | {heads} | caught by |", f"|---|---:|{'---:|' * len(shown)}---|"]
        for name, title in present:
            o = outcomes[name]
            cells = [_loss(o, t) for t in shown]
            by = ", ".join(f"`{c}`" for c in o["failed"] if c == "floor" or c.startswith("canary")) or "-"
            lines.append(f"| {title} | {_number(o['loss'])} | {' | '.join(cells)} | {by} |")
        lines.append("")
    lines += [
        "The unnormalised script is detected where an honest loss is near the floor: in the first line on noise, and in every",
        "line on samples of a model. The gated leak shows that a canary stream must look like text. The last-step attack shows",
        "that a rerun must finish. In the smoke profile, `floor` detects most attacks in the run itself, because the language",
        "of the smoke data has a known floor.",
    ]
    return "\n".join(lines)


def _loss(outcome: dict[str, Any], texture: str) -> str:
    if texture not in outcome["canary"]:
        return "-"
    failed = any(c.startswith("canary") and c.endswith(texture) for c in outcome["failed"])
    number = _number(outcome["canary"][texture])
    last = _number(outcome["last"][texture])
    return f"**{number}** ({last})" if failed else f"{number} ({last})"


def _number(loss: float | None) -> str:
    return "-" if loss is None else f"{loss:.4f}"


def _attacks(attacks: list[Attack], kept: Kept) -> str:
    lines = ["## Attacks by the guest"]
    runtimes = _runtimes(kept)
    for kind, title in (("score", "False scores"), ("containment", "The machine, the log and its reader")):
        lines += ["", f"### {title}", ""]
        lines += [
            "| attack | "
            + " | ".join(f"{r}, seconds" for r in runtimes)
            + (" | failed checks and measurements |" if kind == "score" else " | how the run ended |"),
            "|---|" + "---|" * (len(runtimes) + 1),
        ]
        for attack in attacks:
            if attack.kind != kind or attack.expect == AttackOutcome.HONEST:
                continue
            cells = " | ".join(_cell(kept[r]["outcomes"].get(attack.name)) for r in runtimes)
            lines.append(f"| {attack.title} (`{attack.name}`) | {cells} | {_how(attack, kept)} |")
    return "\n".join(lines)


def _cell(outcome: dict[str, Any] | None) -> str:
    return f"{outcome['came']}, {outcome['wall_s']:.0f}" if outcome else "not run"


def _how(attack: Attack, kept: Kept) -> str:
    outcome = _outcome(kept, attack.name)
    if outcome is None:
        return attack.note or "-"
    said = []
    if attack.kind == "score":
        if outcome["failed"]:
            said.append(", ".join(f"`{c}`" for c in outcome["failed"]))
        if outcome["loss"] is not None and not attack.args:
            honest = _outcome(kept, "honest_trainer") or {"loss": None}
            said.append(f"claims a loss of {_number(outcome['loss'])} (honest: {_number(honest['loss'])})")
        said += [f"tier {outcome['tier']}", *_figures(attack, outcome)]
    else:
        kills = [kept[r]["outcomes"].get(attack.name, {}).get("kill_s") for r in _runtimes(kept)]
        times = " / ".join(f"{s:.2f}" for s in kills if s is not None)
        names = " / ".join(_runtimes(kept))
        said.append(
            f"the run's status was `{outcome['status']}`; all its processes were gone {times} s after its exit or the decision to kill it ({names})"
        )
    found = "; ".join(said) + "."
    return f"{found} {attack.note}" if attack.note else found


def _figures(attack: Attack, outcome: dict[str, Any]) -> list[str]:
    f, failed = outcome["figures"], outcome["failed"]
    said = []
    if "baseline.excess.excess_s" in f:
        mine, excess, ratio = (
            outcome["claimed_s"],
            f["baseline.excess.excess_s"],
            f.get("baseline.speed.ratio"),
        )
        honest = f" (start script: {mine / ratio:.1f} s)" if ratio and not attack.args else ""
        said.append(f"its claimed time of {mine:.1f} s counts as {mine + excess:.1f} s{honest}")
    if "baseline.warmup" in failed:
        said.append(
            f"warm-up of {f['baseline.warmup.candidate_s']:.1f} s, limit {f['baseline.warmup.bound_s']:.1f} s"
        )
    if "baseline.validation" in failed:
        mine, theirs = f["baseline.validation.candidate_s"], f["baseline.validation.baseline_s"]
        said.append(f"one validation takes {mine:.2f} s (start script: {theirs:.2f} s)")
    if "canary.to_end.model.lowest_loss" in f:
        low, bound = f["canary.to_end.model.lowest_loss"], f["canary.to_end.model.bound"]
        said.append(f"lowest loss on model samples minus the bound: {low - bound:+.3f}")
    if "canary.versus_baseline" in failed:
        mine, theirs = f["canary.versus_baseline.candidate_loss"], f["canary.versus_baseline.baseline_loss"]
        said.append(f"loss on noise {mine:.3f} (start script: {theirs:.3f})")
    if "held_out.difference" in f:
        said.append(
            f"extra loss on held-out text, compared with the start script: {f['held_out.difference']:+.3f}"
        )
    if "trace.pace" in failed:
        said.append(
            f"claims {f['trace.pace.claimed_s']:.1f} s where the host measured {f['trace.pace.host_s']:.1f} s"
        )
    if "trace.clock" in failed:
        said.append(
            f"it claims {f['trace.clock.worst_gain_s']:.1f} s more than the host measured between two lines"
        )
    return said


def _patterns(attacks: list[Attack], kept: Kept) -> str:
    lines = [
        "## The 24 known patterns",
        "",
        "| # | pattern | attacks and their outcomes |",
        "|---:|---|---|",
    ]
    for number, title in PATTERNS.items():
        said = [f"`{a.name}`: {_came(kept, a.name)}" for a in attacks if number in a.patterns]
        if number in ELSEWHERE:
            said.append(ELSEWHERE[number])
        lines.append(f"| {number} | {title} | {'; '.join(said)} |")
    return "\n".join(lines)


def _operator() -> str:
    lines = ["## Attacks by the operator", "", "| attack | outcome | reason |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {came} | {why} |" for a, came, why in OPERATOR)])


def _limits(attacks: list[Attack], kept: Kept) -> str:
    lines = ["## Known limits", "", *_leaks(kept)]
    lines += [
        "* A script that is written against the canary can distinguish samples of a model from text, and be honest on samples.",
        "* A script that recognises the public validation window is honest on every canary stream. The tier `canary` does not",
        "  detect it; the tier `canary + held-out` does.",
        "* The guest declares its phases. Work before its clock starts is limited and added to its time, but not prevented.",
        "* The source rules match names. They catch naive cheats; code that hides its names passes.",
        "* Training on the mounted validation data is detected on noise if the model is large enough to memorize it, or to differ",
        "  from an honest model. It is not detected on held-out text.",
        "* The comparisons of time (`baseline.*`) need an idle machine. Under load, or if the run is the first to read the image",
        "  from disk, an honest script can fail `baseline.warmup`, or its counted time grows. If so, run it again.",
        "* The figures of `canary.*` and `baseline.*` were not measured in the full profile, because its runs need eight GPUs.",
    ]
    passed = [a for a in attacks if _came(kept, a.name) == AttackOutcome.NOT_CAUGHT]
    named = [f"* The attack `{a.name}` is not caught: {a.title}." for a in passed]
    return "\n".join([*lines, *named])


def _leaks(kept: Kept) -> list[str]:
    """Return the size of a leak that the canary cannot detect, from the honest script and the smallest leak."""
    honest, small = _outcome(kept, "honest_trainer"), _outcome(kept, "masked_few_tokens")
    if honest is None or small is None:
        return []
    f = honest["figures"]
    low, floor, bound = (f[f"canary.to_end.model.{n}"] for n in ("lowest_loss", "floor", "bound"))
    return [
        "* The canary does not detect a leak that lowers the loss by less than the honest loss's distance from the floor plus",
        f"  the tolerance. After 100 smoke steps that is {low - floor:.3f} + {floor - bound:.3f} = {low - bound:.3f} nats;"
        " `masked_few_tokens` lowers the",
        f"  loss by {honest['loss'] - small['loss']:.3f}. Every result publishes this distance: `lowest_loss` minus `bound`.",
    ]


def _checks(kept: Kept) -> str:
    lines = [
        "## The checks",
        "",
        "`tests/unit/audit/test_every_check.py` tests each check with a cheat that fails it and an honest script that passes.",
        "",
        "| check | severity | detects | does not detect | failed by |",
        "|---|---|---|---|---|",
    ]
    for c in CHECKS:
        by = sorted({n for r in kept.values() for n, o in r["outcomes"].items() if c.id in o["failed"]})
        said = ", ".join(f"`{n}`" for n in by[:3]) + (f" and {len(by) - 3} more" if len(by) > 3 else "")
        lines.append(f"| `{c.id}` | {c.severity} | {c.sees} | {c.cannot_see or '-'} | {said or '-'} |")
    return "\n".join(lines)
