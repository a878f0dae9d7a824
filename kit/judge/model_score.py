"""
L: a model's verdict about each item, from several samples with shuffled items.

The start and the target script are judged in the same way every time, and so is the script with an injected
comment. A control that fails makes the judgement `unreliable`. L never enters a score or a tier.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.agent.costs import ProfilePrices
from kit.agent.llm.price import cost_usd
from kit.agent.llm.record import outcome_sha256, request_sha256
from kit.agent.llm.wire import CallKey, CallOutcome
from kit.core.codec import Prose
from kit.core.digest import Sha256
from kit.core.errors import SchemaError
from kit.judge.agreement import krippendorff_alpha
from kit.judge.asked import AskedModel, require_fit
from kit.judge.deterministic import ProbeScore
from kit.judge.injection import inject
from kit.judge.prompt import judge_messages
from kit.judge.rubric import Rubric
from kit.judge.scripts import TaskPair
from kit.judge.source import NormalSource, shown_text
from kit.judge.verdicts import ItemVerdict, read_verdicts

SAMPLES = 5
TOLERANCE = 0.1
"""How far the controls may be from 0 and 1."""


class JudgedRole(StrEnum):
    """The script that a sample judges; its place in the list is the node of the recorded calls."""

    SCRIPT = "script"
    START = "start"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class ModelSample:
    """One answer of the model about one script."""

    judged: JudgedRole
    seed: int
    request_sha256: Sha256
    outcome_sha256: Sha256
    answered_model: Prose | None
    system_fingerprint: Prose | None
    fault: Prose | None
    """Why the answer tells nothing; None if it was read."""
    verdicts: tuple[ItemVerdict, ...]
    """Empty with a fault."""
    score: float | None
    """The credited weight over the weight of all items."""
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """The samples about one script together."""

    mean: float | None
    """None if no answer could be read."""
    sd: float | None
    """Sample standard deviation; None for fewer than two answers."""
    coverage: float
    """The weight with a verdict that counts, over all samples; the others give no credit."""
    alpha: float | None
    """Krippendorff's alpha between the samples; None if there is too little to compare."""


@dataclass(frozen=True, slots=True)
class JudgeControl:
    """A judgement whose answer is known."""

    name: str
    passed: bool
    detail: Prose


@dataclass(frozen=True, slots=True)
class ModelScore:
    """L of one script."""

    script: SampleSummary
    start: SampleSummary
    target: SampleSummary
    alpha_with_probes: float | None
    """Krippendorff's alpha between D and L over the items with a probe."""
    controls: tuple[JudgeControl, ...]
    reliable: bool
    """Whether every control passed."""
    samples: tuple[ModelSample, ...]


@dataclass(frozen=True, slots=True)
class ModelJudge(AskedModel):
    """What asks the model for verdicts."""

    def ask(self, rubric: Rubric, judged: JudgedRole, shown: str, start: str, seed: int) -> ModelSample:
        """Return one sample. Raises `RunError` if it was cancelled, and as the transport does."""
        request = self.profile.request(judge_messages(rubric, shown, start, seed))
        place = CallKey(list(JudgedRole).index(judged) + 1, seed + 1)
        outcome = self.outcome(place, request)
        fault, verdicts = _read(outcome, rubric, shown)
        response = outcome.response
        usage = None if response is None else response.usage
        return ModelSample(
            judged=judged,
            seed=seed,
            request_sha256=request_sha256(request),
            outcome_sha256=outcome_sha256(outcome),
            answered_model=None if response is None else response.answered_model,
            system_fingerprint=None if response is None else response.system_fingerprint,
            fault=fault,
            verdicts=verdicts,
            score=None if fault is not None else _score(rubric, verdicts),
            prompt_tokens=None if usage is None else usage.prompt_tokens,
            completion_tokens=None if usage is None else usage.completion_tokens,
            cost_usd=None if usage is None else cost_usd(usage, self.profile.prices),
        )

    def most_usd(self, rubric: Rubric, script: NormalSource, pair: TaskPair, samples: int) -> float | None:
        """
        Return the most that judging a script can cost, recorded answers included; None without prices.

        Raises `UsageError` if a prompt and its answer may not fit into the model's context.
        """
        prices, costs = ProfilePrices(self.profile), []
        for source in (script, pair.start, pair.target):
            request = self.profile.request(
                judge_messages(rubric, shown_text(source), shown_text(pair.start), 0)
            )
            require_fit(self.profile, request, "the prompt")
            costs.append(prices.worst(request)[1])
        return None if None in costs else samples * sum(cost for cost in costs if cost is not None)


def _read(outcome: CallOutcome, rubric: Rubric, shown: str) -> tuple[str | None, tuple[ItemVerdict, ...]]:
    if outcome.fault is not None or outcome.response is None:
        return f"{outcome.fault or 'no answer'}: {outcome.detail}", ()
    try:
        return None, read_verdicts(outcome.response.text, [item.id for item in rubric.items], shown)
    except SchemaError as e:
        return f"unreadable: {e.headline}", ()


def _score(rubric: Rubric, verdicts: Sequence[ItemVerdict]) -> float:
    weights = {item.id: item.weight for item in rubric.items}
    return sum(weights[v.id] * v.credit for v in verdicts) / rubric.weight


def score_model(
    judge: ModelJudge, rubric: Rubric, script: NormalSource, pair: TaskPair, probes: ProbeScore, samples: int
) -> ModelScore:
    """
    Return L of a script: `samples` calls about it, about the start script and about the target.

    Raises `RunError` if it was cancelled, and as the transport does.
    """
    shown = {
        JudgedRole.SCRIPT: shown_text(script),
        JudgedRole.START: shown_text(pair.start),
        JudgedRole.TARGET: shown_text(pair.target),
    }
    start = shown[JudgedRole.START]
    answers = tuple(
        judge.ask(rubric, judged, shown[judged], start, i) for judged in JudgedRole for i in range(samples)
    )
    by = {judged: [a for a in answers if a.judged is judged] for judged in JudgedRole}
    told = {judged: summarize_samples(rubric, by[judged]) for judged in JudgedRole}
    controls = (
        _near("start", told[JudgedRole.START], 0.0),
        _near("target", told[JudgedRole.TARGET], 1.0),
        injection_control(script, shown[JudgedRole.SCRIPT]),
    )
    return ModelScore(
        script=told[JudgedRole.SCRIPT],
        start=told[JudgedRole.START],
        target=told[JudgedRole.TARGET],
        alpha_with_probes=_with_probes(probes, by[JudgedRole.SCRIPT]),
        controls=controls,
        reliable=all(control.passed for control in controls),
        samples=answers,
    )


def summarize_samples(rubric: Rubric, samples: Sequence[ModelSample]) -> SampleSummary:
    """Return mean, spread, coverage and agreement of the samples about one script."""
    scores = [s.score for s in samples if s.score is not None]
    weights = {item.id: item.weight for item in rubric.items}
    counted = sum(weights[v.id] for s in samples for v in s.verdicts if v.verdict is not None)
    units = [[_given(s, item.id) for s in samples] for item in rubric.items]
    return SampleSummary(
        mean=statistics.fmean(scores) if scores else None,
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
        coverage=counted / (rubric.weight * len(samples)),
        alpha=krippendorff_alpha(units),
    )


def _given(sample: ModelSample, name: str) -> float | None:
    found = [v.credit for v in sample.verdicts if v.id == name and v.verdict is not None]
    return found[0] if found else None


def _with_probes(probes: ProbeScore, samples: Sequence[ModelSample]) -> float | None:
    units: list[tuple[float | None, float | None]] = []
    for item in probes.items:
        given = [v for s in samples if (v := _given(s, item.id)) is not None]
        units.append(
            (None if item.holds is None else float(item.holds), statistics.fmean(given) if given else None)
        )
    return krippendorff_alpha(units)


def _near(name: str, told: SampleSummary, expected: float) -> JudgeControl:
    passed = told.mean is not None and abs(told.mean - expected) <= TOLERANCE
    got = "no answer could be read" if told.mean is None else f"L is {told.mean:.2f}"
    return JudgeControl(name, passed, f"{got}, expected {expected:g} within {TOLERANCE:g}")


def injection_control(script: NormalSource, shown: str) -> JudgeControl:
    """Return whether injected texts change what the model is shown; equal prompts cannot be told apart."""
    same = shown_text(inject(script)) == shown
    detail = "the prompt is the same with and without" if same else "injected texts change the prompt"
    return JudgeControl("injection", same, detail)
