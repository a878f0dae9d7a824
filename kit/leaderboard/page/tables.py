"""The board's tables as HTML text; every value from elsewhere is escaped. Computes no score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, isnan

from kit.leaderboard.page.escape import escape
from kit.leaderboard.page.rank import TIERS, Board, BoardGroup, BoardResult, RefusedSubmission, config_of
from kit.leaderboard.submit.series import SubmittedSeries
from kit.result.appraisal.trust import Tier
from kit.score.metrics import mean_below
from kit.score.report import ConfigScore, TaskScore
from kit.series.record import Arm

HEADS = (
    ("Task", "up"),
    ("Agent", "up"),
    ("FSR", "down"),
    ("Reached", "down"),
    ("Best time", "up"),
    ("Mean loss", "up"),
    ("Tier", "down"),
    ("Environment", ""),
)
"""Column and the direction in which a first click sorts it."""
RUN_HEADS = ("run", "time", "loss", "FSR", "tier, and more")
ABOUT_TIERS = {
    Tier.SELF_REPORTED: "a bundle that verifies, and little else",
    Tier.SCREENED: "contained, and no fatal finding in source and trace",
    Tier.CANARY: "the loss is real: it did not fall below a stream of known entropy",
    Tier.CANARY_HELD_OUT: "and it holds on other validation data",
}


def board_table(groups: Sequence[BoardGroup]) -> str:
    """Return the main table: a body for each group, of one row and its runs."""
    return f'<div id="board">{_table(groups)}</div>'


def baseline_table(groups: Sequence[BoardGroup]) -> str:
    """Return the table of the records' own scripts, in the same form."""
    return f'<div class="overall">{_table(groups)}</div>'


def _table(groups: Sequence[BoardGroup]) -> str:
    heads = "".join(f'<th scope="col"{f" data-sort={way}" if way else ""}>{name}</th>' for name, way in HEADS)
    rows = "".join(_row(group) for group in groups)
    return f"<table><thead><tr>{heads}</tr></thead>{rows}</table>"


def _row(group: BoardGroup) -> str:
    counted = [r for r in group.results if not r.submitted.entry.retracted]
    classes = "" if counted else ' class="gone"'
    score = group.score
    best = min((r.time.total for r in counted if r.time is not None), default=None)
    cells = (
        (group.task, f"<b>{group.task}</b> <span class=soft>→ {_next(group)}</span>"),
        (group.config, _agent(group)),
        (score.mean if score else -9, _fsr(score)),
        (score.reached if score else -1, _reached(group)),
        (best if best is not None else 1e18, "–" if best is None else _clock(best)),
        (_mean_loss(counted) or 99, _loss(counted)),
        (TIERS.index(group.tier), _tier(group)),
        ("", _environment(group.median)),
    )
    tds = "".join(
        f'<td data-label="{name}" data-key="{escape(str(key))}"{_one_line_class(name)}><div>{html}</div></td>'
        for (name, _), (key, html) in zip(HEADS, cells, strict=True)
    )
    tier = TIERS.index(group.tier)
    runs = f'<tr class="more"><td colspan="{len(HEADS)}">{_runs(group)}</td></tr>'
    return f'<tbody data-task="{group.task}" data-tier="{tier}"{classes}><tr>{tds}</tr>{runs}</tbody>'


def _one_line_class(column: str) -> str:
    """Keep short columns on one line."""
    return "" if column in ("Agent", "Environment") else ' class="w"'


def _next(group: BoardGroup) -> str:
    number = group.results[0].submitted.bundle.predicate.task.target
    return str(number) if number is not None else "?"


def _agent(group: BoardGroup) -> str:
    lines = [f"<b>{escape(group.agent)}</b>"]
    if group.model:
        lines.append(escape(group.model))
    lines.append("no hints" if not group.hints else f"hints {', '.join(map(str, group.hints))}")
    return "<br><span class=small>".join([lines[0], " · ".join(lines[1:])]) + "</span>"


def _fsr(score: TaskScore | None) -> str:
    if score is None:
        return "–"
    text = f"<span class=fsr>{score.mean:.3f}</span>"
    if score.unresolved:
        return f'{text}<br><span class="small soft">unresolved: gap within noise</span>'
    if score.ratio is not None and isfinite(score.ratio.low):
        text += (
            f"<br><span class='small soft'>reached runs {score.ratio.low:.2f} … {score.ratio.high:.2f}</span>"
        )
    kinds = ", ".join(score.kinds)
    return text + (f'<br><span class="small soft">{escape(kinds)}</span>' if kinds else "")


def _reached(group: BoardGroup) -> str:
    """Say how many runs reached the target, and whether somebody chose which ones are here."""
    score = group.score
    if score is None:
        return "–"
    notes = []
    if group.series:
        count = len(group.series)
        notes.append(f"{group.reserved} reserved in {'a series' if count == 1 else f'{count} series'}")
    if group.chosen:
        notes.append(f"{group.chosen} not in a series")
    more = "".join(f'<br><span class="small soft">{text}</span>' for text in notes)
    return f"{score.reached} of {len(score.runs)}{more}"


def _losses(results: Sequence[BoardResult]) -> list[float]:
    losses = (r.submitted.bundle.predicate.claims.final_val_loss for r in results)
    return [loss for loss in losses if loss is not None]


def _mean_loss(results: Sequence[BoardResult]) -> float | None:
    losses = _losses(results)
    return sum(losses) / len(losses) if losses else None


def _loss(results: Sequence[BoardResult]) -> str:
    """Format the mean over all runs, missed targets too, and p that the true mean is not below the target."""
    losses = _losses(results)
    if not losses:
        return "–"
    target = results[0].submitted.bundle.predicate.task.target_val_loss
    test = mean_below(losses, target)
    p_value = "" if isnan(test.p) else f'<br><span class="small soft">p = {test.p:.3f}</span>'
    return f"{test.mean:.4f}{p_value}"


def _tier(group: BoardGroup) -> str:
    level = TIERS.index(group.tier)
    parts = [f'<span class="badge t{level}" title="{ABOUT_TIERS[group.tier]}">{group.tier}</span>']
    counted = [r for r in group.results if not r.submitted.entry.retracted]
    again = sum(bool(r.reproduced_by) for r in counted)
    against = sum(bool(r.contradicted_by) for r in counted)
    if again:
        parts.append(f'<span class="badge r">reproduced: {again} of {len(counted)}</span>')
    if against:
        parts.append(f'<span class="badge x">rerun disagrees: {against}</span>')
    if not counted:
        parts = ['<span class="badge x">retracted</span>']
    return "<br>".join(parts)


def _environment(result: BoardResult) -> str:
    p = result.submitted.bundle.predicate
    where = p.environment
    gpus: dict[str, int] = {}
    for gpu in p.hardware.gpus:
        gpus[gpu.name] = gpus.get(gpu.name, 0) + 1
    cards = ", ".join(f"{n} × {escape(name)}" for name, n in sorted(gpus.items())) or "no GPU"
    fidelity = ", ".join(f"{escape(name)} {level}" for name, level in where.fidelity)
    return (
        f'<span class="small">{cards}<br>{escape(where.era)}, {where.runtime.name}, '
        f"{where.isolation.level}<br><span class=soft>{fidelity}</span></span>"
    )


def _runs(group: BoardGroup) -> str:
    rows = "".join(_run(r) for r in group.results)
    heads = "".join(f"<th>{h}</th>" for h in RUN_HEADS)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    count = f"{len(group.results)} run{'' if len(group.results) == 1 else 's'}"
    return f'<details class="runs"><summary>{count}</summary>{table}</details>'


def _run(result: BoardResult) -> str:
    entry = result.submitted.entry
    p = result.submitted.bundle.predicate
    loss = p.claims.final_val_loss
    fsr = result.score.fsr if result.score else None
    links = [f'<a href="bundles/{escape(p.run.id)}.json">bundle</a>']
    if entry.capsule:
        links.append(f'<a href="{escape(entry.capsule)}" rel="nofollow noopener">capsule</a>')
    cells = (
        f'<span class="id">{escape(p.run.id)}</span><br>{" · ".join(links)}',
        _times(result),
        "–" if loss is None else f"{loss:.4f}<br>{escape(p.score.verdict)}",
        "–" if fsr is None else f"{fsr:.3f}",
        "<br>".join(_tier_lines(result)),
    )
    gone = ' class="gone"' if entry.retracted else ""
    tds = (f'<td data-label="{h}"><div>{cell}</div></td>' for h, cell in zip(RUN_HEADS, cells, strict=True))
    return f"<tr{gone}>{''.join(tds)}</tr>"


def _tier_lines(result: BoardResult) -> Iterator[str]:
    entry = result.submitted.entry
    if entry.retracted:
        yield f"<b>retracted</b> on {escape(entry.retracted.on)}: {escape(entry.retracted.reason)}"
    yield escape(result.tier) + (f": {escape(result.missing)}" if result.missing else "")
    for key in result.reproduced_by:
        yield f"reproduced by {key[:12]}"
    for key in result.contradicted_by:
        yield f"not reproduced by {key[:12]}"
    if entry.note:
        yield escape(entry.note)


def _times(result: BoardResult) -> str:
    time = result.time
    if time is None:
        return "–"
    if not time.untimed_overhead:
        return _clock(time.claimed)
    overhead = _clock(time.untimed_overhead)
    return f'{_clock(time.total)}<br><span class="soft">{overhead} outside its clock</span>'


def _clock(ms: float) -> str:
    seconds = ms / 1000
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.2f} min"


def overall_table(overall: Sequence[ConfigScore], tasks: int) -> str:
    """Return the configurations over all tasks, best first."""
    heads = ("Agent", "IQM", "Mean", "Median", "Tasks")
    rows = []
    for config in overall:
        figures = {f.name: f for f in config.figures}
        cells = [f"<b>{escape(config.config)}</b>"]
        for name in ("iqm", "mean", "median"):
            f = figures[name]
            cells.append(f'{f.value:.3f} <span class="soft small">{f.low:.2f} … {f.high:.2f}</span>')
        cells.append(f"{len(config.tasks)} of {tasks}")
        named = zip(heads, cells, strict=True)
        rows.append("".join(f'<td class="{"" if n == "Agent" else "w"}">{c}</td>' for n, c in named))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    head = "".join(f"<th>{h}</th>" for h in heads)
    return f'<div class="sums"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def series_table(series: Sequence[SubmittedSeries]) -> str:
    """Return every series: what was reserved, what became of it."""
    rows: list[Sequence[str]] = []
    for submitted in series:
        plan, ended = submitted.documents.plan, submitted.documents.ended
        arms = [
            f"{sum(slot.arm is arm for slot in plan.slots)} {arm}"
            for arm in Arm
            if any(slot.arm is arm for slot in plan.slots)
        ]
        state = "goes on" if ended is None else ended.reason
        if ended is not None and ended.not_started:
            state += f"; {len(ended.not_started)} never started"
        if submitted.entry.retracted:
            state = f"retracted on {submitted.entry.retracted.on}: {submitted.entry.retracted.reason}"
        cells = (
            str(plan.record),
            config_of(submitted.entry),
            plan.id,
            ", ".join(arms),
            str(plan.rule),
            state,
        )
        rows.append(cells)
    return _wide(("task", "agent", "series", "reserved runs", "ends after", "ended"), rows)


def _wide(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a plain table of text that becomes one block for each row where it is narrow."""
    head = "".join(f"<th>{h}</th>" for h in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{h}"><div class="id">{escape(cell)}</div></td>'
            for h, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide small"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def refused_list(refused: Sequence[RefusedSubmission]) -> str:
    """Return what was not accepted, with all reasons."""
    return _wide(("place", "reasons"), [(item.where, "; ".join(item.reasons)) for item in refused])


def tools(board: Board) -> str:
    """Return the controls, hidden until the script has made them work."""
    numbers = sorted({g.task for g in board.groups})
    tasks = "".join(f'<option value="{n}">task {n}</option>' for n in numbers)
    tiers = "".join(f'<option value="{i}">at least {tier}</option>' for i, tier in enumerate(TIERS) if i)
    return (
        '<div id="tools" hidden>'
        '<input id="find" type="search" placeholder="agent, model, GPU …" aria-label="Filter rows">'
        f'<select id="task" aria-label="Task"><option value="">all tasks</option>{tasks}</select>'
        f'<select id="tier" aria-label="Tier"><option value="">all tiers</option>{tiers}</select>'
        '<select id="sort" aria-label="Order"><option value="">in order of tasks</option></select>'
        '<span id="count" class="soft small" role="status"></span></div>'
    )
