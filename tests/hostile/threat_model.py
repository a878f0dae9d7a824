"""Writes docs/reference/threat-model.md from the attacks' headers and the outcomes that a run recorded."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import lanes
from known import ELSEWHERE, OPERATOR, PATTERNS
from suite import NOISE_IN, REPOSITORY, Attack, Came, Recorded, load, to_json

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
ORDER = (Came.CONTAINED, Came.CAUGHT, Came.FLAGGED, Came.NOT_CAUGHT, Came.ESCAPED, Came.HONEST)


Kept = dict[str, dict[str, Any]]
"""Runtime -> what is kept of its last pass: `minutes`, `cores`, and `outcomes` by the attack's name."""


def keep(runtime: str, found: Recorded) -> None:
    """Keep what came of one attack in one runtime, beside what there is, and write the page."""
    kept = _read()
    _pass(kept, runtime)["outcomes"][found.name] = to_json(found)
    _write(kept)


def timed(runtime: str, found: lanes.Found) -> None:
    """Keep how long a whole pass took; what is kept of attacks that were not in it goes."""
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
    """Return the page for these attacks and outcomes."""
    parts = [_head(attacks, kept), _losses(kept), _attacks(attacks, kept), _patterns(attacks, kept)]
    return "\n\n".join([*parts, _operator(), _limits(attacks, kept), _checks(kept)]) + "\n"


def _runtimes(kept: Kept) -> list[str]:
    """Return the runtimes in their order on the page: runc, the embedded default, first."""
    return sorted(kept, reverse=True)


def _outcome(kept: Kept, name: str) -> dict[str, Any] | None:
    """Return what an attack came to in the first runtime that it ran in."""
    ran = (kept[r]["outcomes"].get(name) for r in _runtimes(kept))
    return next((o for o in ran if o), None)


def _came(kept: Kept, name: str) -> str:
    """Say what came of an attack in all runtimes; once, if it is the same in each."""
    said = [kept[r]["outcomes"].get(name, {}).get("came", "not run") for r in _runtimes(kept)]
    return said[0] if len(set(said)) == 1 else " / ".join(said)


def _head(attacks: list[Attack], kept: Kept) -> str:
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
        "* **flagged**: the result stands and says what is odd; what it hid from its clock is added to its time.",
        "* **not caught**: the result stands.",
        "* **ESCAPED**: it did what no guest may do, or left something behind.",
        "",
        "| runtime | attacks | " + " | ".join(c.value for c in ORDER[:5]) + " | minutes |",
        "|---|---:|" + "---:|" * 6,
    ]
    names = {a.name for a in attacks if a.expect != Came.HONEST}
    for runtime in _runtimes(kept):
        mine = [o for n, o in kept[runtime]["outcomes"].items() if n in names]
        counts = Counter(o["came"] for o in mine)
        cells = " | ".join(str(counts[c.value]) for c in ORDER[:5])
        lines.append(f"| {runtime} | {len(mine)} | {cells} | {_minutes(kept[runtime])} |")
    if missing := [r for r in RUNTIMES if r not in kept]:
        lines += ["", f"Not run yet in {', '.join(missing)}."]
    cores = " and ".join(sorted({str(kept[r]["cores"]) for r in kept}))
    loads = " and ".join(f"{kept[r].get('load', 0.0):.1f}" for r in _runtimes(kept) if kept[r]["minutes"])
    passed = [a for a in attacks if _came(kept, a.name) != Came.CAUGHT and a.expect == Came.NOT_CAUGHT]
    lines += [
        "",
        f"The minutes are those of a machine of {cores} cores (load average {loads}), two attacks at a time where it is not about time.",
        "Of the attacks that are not caught, all are *adaptive*: written, or sized, against this very kit"
        + (f" ({', '.join(f'`{a.name}`' for a in passed)})." if passed else "."),
    ]
    return "\n".join(lines)


def _minutes(mine: dict[str, Any]) -> str:
    return f"{mine['minutes']:.1f}" if mine["minutes"] else "a part of them"


def _losses(kept: Kept) -> str:
    lines = [
        "## Canary losses",
        "",
        "Lowest and, in brackets, last validation loss that each script claimed on each stream, in nats per token, after 100",
        "steps instead of the smoke profile's 160. Every rerun went to its end; the first loss is ln 256 = 5.545 for an honest",
        "script. **Bold**: below the bound, which is the floor less 5 standard errors and 0.05. See",
        "[the canary](../concepts/canary.md). What a script claims on noise does not depend on the runtime: those two streams",
        f"were run in {NOISE_IN} alone.",
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
        "The unnormalised script shows its half nat where an honest loss is near the floor: in the first line on noise, all",
        "along on samples of a model. The gated leak shows why a canary must look like text, the last-step cheat why it must run",
        "to its end. In the smoke profile `floor` sees most of them in the run itself, because the smoke language is a canary.",
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
    lines = ["## What the guest may try"]
    runtimes = _runtimes(kept)
    for kind, title in (("score", "False scores"), ("containment", "The machine, the log and its reader")):
        lines += ["", f"### {title}", ""]
        lines += [
            "| attack | " + " | ".join(f"{r}, seconds" for r in runtimes) + " | how, and what was measured |",
            "|---|" + "---|" * (len(runtimes) + 1),
        ]
        for attack in attacks:
            if attack.kind != kind or attack.expect == Came.HONEST:
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
            said.append(f"claims {_number(outcome['loss'])} (honest {_number(honest['loss'])})")
        said += [f"tier {outcome['tier']}", *_figures(attack, outcome)]
    else:
        kills = [kept[r]["outcomes"].get(attack.name, {}).get("kill_s") for r in _runtimes(kept)]
        times = " / ".join(f"{s:.2f}" for s in kills if s is not None)
        said.append(f"{outcome['status']}; nothing left {times} s after its end")
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
        honest = f"; the start script's is {mine / ratio:.1f} s" if ratio and not attack.args else ""
        said.append(f"its time of {mine:.1f} s counts as {mine + excess:.1f} s{honest}")
    if "baseline.warmup" in failed:
        said.append(
            f"{f['baseline.warmup.candidate_s']:.1f} s of warm-up, bound {f['baseline.warmup.bound_s']:.1f} s"
        )
    if "baseline.validation" in failed:
        mine, theirs = f["baseline.validation.candidate_s"], f["baseline.validation.baseline_s"]
        said.append(f"a validation takes {mine:.2f} s, the start script's {theirs:.2f} s")
    if "canary.to_end.model.lowest_loss" in f:
        low, bound = f["canary.to_end.model.lowest_loss"], f["canary.to_end.model.bound"]
        said.append(f"{low - bound:+.3f} from the bound on samples of a model")
    if "canary.versus_baseline" in failed:
        mine, theirs = f["canary.versus_baseline.candidate_loss"], f["canary.versus_baseline.baseline_loss"]
        said.append(f"on noise {mine:.3f}, the start script {theirs:.3f}")
    if "held_out.difference" in f:
        said.append(f"held-out text costs it {f['held_out.difference']:+.3f} more than the start script")
    if "trace.pace" in failed:
        said.append(f"shows {f['trace.pace.claimed_s']:.1f} s of the host's {f['trace.pace.host_s']:.1f} s")
    if "trace.clock" in failed:
        said.append(f"gains {f['trace.clock.worst_gain_s']:.1f} s between two lines")
    return said


def _patterns(attacks: list[Attack], kept: Kept) -> str:
    lines = [
        "## The 24 known patterns",
        "",
        "| # | pattern | attacks and what came of them |",
        "|---:|---|---|",
    ]
    for number, title in PATTERNS.items():
        said = [f"`{a.name}` {_came(kept, a.name)}" for a in attacks if number in a.patterns]
        if number in ELSEWHERE:
            said.append(ELSEWHERE[number])
        lines.append(f"| {number} | {title} | {'; '.join(said)} |")
    return "\n".join(lines)


def _operator() -> str:
    lines = ["## What the operator may try", "", "| attack | outcome | why |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {came} | {why} |" for a, came, why in OPERATOR)])


def _limits(attacks: list[Attack], kept: Kept) -> str:
    lines = ["## Known limits", "", *_leaks(kept)]
    lines += [
        "* A script that was written against the canary can tell samples of a model from text, and behave there.",
        "* A script that recognises the public validation window is honest on every canary: the tier `canary` alone does not bind",
        "  it, `canary + held-out` does.",
        "* Phases are declared by the guest. Work before its clock starts is bounded and added to its time, no more.",
        "* The source rules read names. Code that hides its names passes them; they find the careless, not the careful.",
        "* Training on whatever is mounted for validation shows on noise, if the model is large enough to remember it or at",
        "  least to differ from an honest one; it passes the held-out text.",
        "* The comparisons of time (`baseline.*`) need a machine that does nothing else: under load, or where the script's run is the",
        "  first to read the image from disk, an honest script can fail `baseline.warmup` or have seconds added. Run it once more.",
        "* The full profile's figures of `canary.*` and `baseline.*` were not measured: its runs need eight GPUs.",
    ]
    passed = [a for a in attacks if _came(kept, a.name) == Came.NOT_CAUGHT]
    named = [f"* Not caught: `{a.name}` ({a.title[0].lower()}{a.title[1:]})." for a in passed]
    return "\n".join([*lines, *named])


def _leaks(kept: Kept) -> list[str]:
    """Say how large a leak the canary of samples lets pass, from the honest script's and the smallest one's figures."""
    honest, small = _outcome(kept, "honest_trainer"), _outcome(kept, "masked_few_tokens")
    if honest is None or small is None:
        return []
    f = honest["figures"]
    low, floor, bound = (f[f"canary.to_end.model.{n}"] for n in ("lowest_loss", "floor", "bound"))
    return [
        "* A leak that is smaller than what an honest loss is above the floor, plus the tolerance, passes every canary, however",
        f"  simple it is. After 100 smoke steps that is {low - floor:.3f} + {floor - bound:.3f} = {low - bound:.3f} nats;"
        " `masked_few_tokens` takes",
        f"  {honest['loss'] - small['loss']:.3f} of it. Every result publishes its own figure: `lowest_loss` less `bound`.",
    ]


def _checks(kept: Kept) -> str:
    lines = [
        "## The checks",
        "",
        "Each has a cheat that trips it and an honest script that does not in `tests/unit/audit/test_every_check.py`.",
        "",
        "| check | if it fails | sees | cannot see | tripped for real by |",
        "|---|---|---|---|---|",
    ]
    for c in CHECKS:
        by = sorted({n for r in kept.values() for n, o in r["outcomes"].items() if c.id in o["failed"]})
        said = ", ".join(f"`{n}`" for n in by[:3]) + (f" and {len(by) - 3} more" if len(by) > 3 else "")
        lines.append(f"| `{c.id}` | {c.severity} | {c.sees} | {c.cannot_see or '-'} | {said or '-'} |")
    return "\n".join(lines)
