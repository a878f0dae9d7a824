"""
Winners of agents' runs with D, L and the distance recovered beside FSR (`judged_winners`), and their figures.

A judgement counts if a trusted key signed it, and it is of the winner's task and submission, by the task's
rubric. None of these
figures enters a score, a tier or a rank.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit.agent.nodefiles import NodeFiles
from kit.agent.recorded import RecordedRun
from kit.core.digest import Sha256
from kit.core.errors import KitError, PrerequisiteError
from kit.judge.distance import TokenDistance, token_distance
from kit.judge.judgement import Judgement, read_judgement
from kit.judge.scripts import TaskPair, read_judged
from kit.leaderboard.page.agent_runs import AgentGroup, AgentRuns, JudgedWinner
from kit.leaderboard.page.figures import Figure, KeyItem
from kit.leaderboard.page.plots import PlotDot, PlotPoint, color_class, dots_plot, points_plot
from kit.leaderboard.page.rank import RefusedSubmission
from kit.result.keys import Trusted

LEAST = 3
"""Points from which a squared correlation is told."""
MAX_JUDGEMENTS = 100_000

Judgements = Mapping[tuple[str, str], Judgement]
"""Task and the submission's digest -> the judgement."""


@dataclass(frozen=True, slots=True)
class JudgedFigure:
    """One figure of winners that is set against FSR."""

    title: str
    of: Callable[[JudgedWinner], float | None]


FIGURES = (
    JudgedFigure("distance recovered (tokens)", lambda w: w.recovered),
    JudgedFigure("D (probes)", lambda w: w.d),
    JudgedFigure("L (a model, reliable only)", lambda w: w.l if w.reliable else None),
)


def read_judgements(
    folders: Sequence[Path], trusted: Trusted, rubric_of: Callable[[str], Sha256]
) -> tuple[Judgements, tuple[RefusedSubmission, ...]]:
    """
    Read the judgements in directories; return the newest of each script, and those that do not count.

    One with L goes before one without. `rubric_of` returns the digest of a task's rubric: a judgement by
    another one does not count, since their figures cannot be compared. Raises `PrerequisiteError` for a
    directory without a judgement.
    """
    known: dict[tuple[str, str], Judgement] = {}
    refused: list[RefusedSubmission] = []
    for path in dict.fromkeys(path for folder in folders for path in _files(folder)):
        try:
            signed = read_judgement(path, trusted)
            rubric = rubric_of(signed.judgement.task)
        except KitError as e:
            refused.append(RefusedSubmission(str(path), (e.headline,)))
            continue
        if not signed.trusted:
            reason = f"signed by untrusted key {signed.key_id[:12]}"
            refused.append(RefusedSubmission(str(path), (reason,)))
            continue
        if signed.judgement.rubric_sha256 != rubric:
            reason = f"judged by rubric {signed.judgement.rubric_sha256[:12]}, expected {rubric[:12]}"
            refused.append(RefusedSubmission(str(path), (reason,)))
            continue
        place = (signed.judgement.task, signed.submission_sha256)
        if place not in known or _rank(signed.judgement) > _rank(known[place]):
            known[place] = signed.judgement
    return known, tuple(refused)


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.json"))
    if not found:
        raise PrerequisiteError(f"no judgement in {folder}", "pass the directory that `judge` wrote to")
    return found[:MAX_JUDGEMENTS]


def _rank(judgement: Judgement) -> tuple[bool, str]:
    return judgement.model is not None, judgement.judged_at


def with_winners(
    runs: AgentRuns,
    judgements: Judgements,
    refused: Sequence[RefusedSubmission],
    pair_of: Callable[[str], TaskPair | None],
) -> AgentRuns:
    """
    Return runs with their judged winners.

    `pair_of` returns the scripts of a task, or None if no distance is to be measured.
    """
    winners: list[JudgedWinner] = []
    faults = list(refused)
    for group in runs.groups:
        for run in group.runs:
            try:
                winners += _winner(group, run, judgements, pair_of)
            except (KitError, OSError) as e:
                told = e.headline if isinstance(e, KitError) else str(e.strerror)
                faults.append(RefusedSubmission(str(run.folder), (f"its winner was not compared: {told}",)))
    return replace(runs, winners=tuple(winners), refused=(*runs.refused, *faults))


def _winner(
    group: AgentGroup, run: RecordedRun, judgements: Judgements, pair_of: Callable[[str], TaskPair | None]
) -> Iterator[JudgedWinner]:
    winner = run.tree.winner()
    if winner is None:
        return
    node, task = run.tree.node(winner), str(run.spec.task)
    judgement = judgements.get((task, node.submission_sha256 or ""))
    score = judgement.model.score if judgement is not None and judgement.model is not None else None
    pair = pair_of(task)
    searched = None if node.evaluation is None else node.evaluation.fsr
    yield JudgedWinner(
        task=group.task,
        group=group.label,
        model=group.model,
        hints=",".join(map(str, group.hints)) or "none",
        seed=run.spec.seed,
        node=winner,
        fsr=searched if run.retimed is None else run.retimed.fsr,
        recovered=None if pair is None else winner_distance(run, winner, pair).recovered,
        d=None if judgement is None else judgement.probes.value,
        l=None if score is None else score.script.mean,
        reliable=None if score is None else score.reliable,
    )


def winner_distance(run: RecordedRun, winner: int, pair: TaskPair) -> TokenDistance:
    """Measure a winner between its task's scripts. Raises `IntegrityError` for a changed submission."""
    files = NodeFiles(run.folder, winner)
    files.read_submission(run.tree.node(winner).submission_sha256)
    return token_distance(read_judged(files.submission).source, pair.start, pair.target)


@dataclass(frozen=True, slots=True)
class WinnerPoint:
    """The winner of one run in a figure of FSR against another measure."""

    hints: str
    winner: str
    """What names it in the figure: its task and search."""
    x: float
    fsr: float


def winner_figures(winners: Sequence[JudgedWinner]) -> Iterator[Figure]:
    """Yield, for each model, FSR against each of `FIGURES`, then all of them by task."""
    for model in sorted({winner.model for winner in winners}):
        mine = [winner for winner in winners if winner.model == model]
        for figure in FIGURES:
            yield from _scatter(model, mine, figure)
        yield from _by_task(model, mine)


def _scatter(model: str, winners: Sequence[JudgedWinner], figure: JudgedFigure) -> Iterator[Figure]:
    points = [
        WinnerPoint(w.hints, f"task {w.task}, {w.group}, seed {w.seed}", x, w.fsr)
        for w in winners
        if (x := figure.of(w)) is not None and w.fsr is not None
    ]
    hints = sorted({winner.hints for winner in winners})
    return fsr_figure(f"{model}: FSR against {figure.title}", figure.title, points, hints)


def fsr_figure(
    title: str, measure: str, points: Sequence[WinnerPoint], hints: Sequence[str]
) -> Iterator[Figure]:
    """Yield FSR against a measure of winners, a colour for each set of `hints`; nothing without points."""
    plot = points_plot(
        [
            PlotPoint(f"{p.winner}: {p.x:.3f}, FSR {p.fsr:.3f}", p.x, p.fsr, hints.index(p.hints))
            for p in points
        ],
        measure,
        "FSR of the winner",
    )
    if plot is None:
        return
    groups = {name: [(p.x, p.fsr) for p in points if p.hints == name] for name in hints}
    key = tuple(
        KeyItem(color_class(color), f"hints {name}: {fit_text(group)}")
        for color, (name, group) in enumerate(groups.items())
        if group
    )
    yield Figure(title, plot, key)


def _by_task(model: str, winners: Sequence[JudgedWinner]) -> Iterator[Figure]:
    """Yield the means by task, the paper's figures 6 and C.1; nothing if there is FSR alone."""
    shown = (JudgedFigure("FSR", lambda w: w.fsr), *FIGURES)
    dots, there = [], set()
    for task in dict.fromkeys(winner.task for winner in winners):
        for color, figure in enumerate(shown):
            values = [v for w in winners if w.task == task and (v := figure.of(w)) is not None]
            if values:
                mean = statistics.fmean(values)
                low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
                dots.append(PlotDot(task, f"task {task}, {figure.title}: {mean:.3f}", mean, low, high, color))
                there.add(color)
    plot = dots_plot(dots, "mean and range over runs") if there - {0} else None
    if plot is not None:
        key = tuple(KeyItem(color_class(color), shown[color].title) for color in sorted(there))
        yield Figure(f"{model}: winners by task", plot, key)


def fit_text(points: Sequence[tuple[float, float]]) -> str:
    """Return the number of points, and their squared correlation if it is defined."""
    count = f"n = {len(points)}"
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if len(points) < LEAST or len(set(xs)) == 1 or len(set(ys)) == 1:
        return count
    return f"{count}, R\u00b2 = {statistics.correlation(xs, ys) ** 2:.2f}"
