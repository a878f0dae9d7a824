"""
Budgets: what a run may spend, checked at worst case before it is spent.

What may have been spent counts as spent: a lost call or evaluation is charged at its worst case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from kit.core.errors import UsageError

REPAIRS = 3
SUFFIXES = {"": 1, "k": 1_000, "M": 1_000_000}
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_Number = TypeVar("_Number", int, float)
_COUNT = re.compile(r"([0-9]{1,15})(k|M|)")
_MAX_COUNT = 10**15
"""A budget is JSON, whose integers end at 2**53."""
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd])")


class BudgetLimit(StrEnum):
    """One limit of a budget."""

    NODES = "nodes"
    EVALUATIONS = "evaluations"
    GPU_SECONDS = "gpu_seconds"
    WALL_S = "wall_s"
    PROMPT_TOKENS = "prompt_tokens"
    COMPLETION_TOKENS = "completion_tokens"
    TOKENS = "tokens"
    USD = "usd"


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a run. None: no limit."""

    nodes: int | None = None
    """Control nodes do not count."""
    evaluations: int | None = None
    """All evaluations, those of control nodes and lost ones too."""
    gpu_seconds: float | None = None
    wall_s: float | None = None
    """Seconds in which a process worked on the run, by the journal's times."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens: int | None = None
    """Prompt and completion tokens together."""
    usd: float | None = None
    repairs_per_node: int = REPAIRS
    """Further calls in a node after an answer that could not be applied."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts that were spent, or that a step could spend."""

    nodes: int = 0
    evaluations: int = 0
    gpu_seconds: float = 0.0
    wall_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.nodes + other.nodes,
            self.evaluations + other.evaluations,
            self.gpu_seconds + other.gpu_seconds,
            self.wall_s + other.wall_s,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
        )

    def of(self, limit: BudgetLimit) -> float:
        """Return the amount that a limit bounds."""
        if limit is BudgetLimit.TOKENS:
            return self.prompt_tokens + self.completion_tokens
        return float(getattr(self, limit.value))

    def document(self) -> dict[str, Any]:
        """Return the amounts besides nodes as a JSON object, GPU time in hours."""
        return {
            "evaluations": self.evaluations,
            "gpu_hours": self.gpu_seconds / 3600,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "usd": self.usd,
            "wall_s": self.wall_s,
        }


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent."""

    known: Amounts = field(default_factory=Amounts)
    """As reported by the endpoint and measured by the host."""
    unknown: Amounts = field(default_factory=Amounts)
    """Worst-case charges for what may have been spent and was not reported."""

    @property
    def charged(self) -> Amounts:
        """The sum that budgets bound."""
        return self.known + self.unknown


@dataclass(frozen=True, slots=True)
class BudgetStop:
    """The limit that the next step could exceed."""

    limit: BudgetLimit
    spent: float
    worst: float
    allowed: float

    def __str__(self) -> str:
        return (
            f"the budget's {self.limit} of {self.allowed:g} is spent: {self.spent:g} used, "
            f"and the next step can use {self.worst:g}"
        )


def check(budget: Budget, spent: Spent, worst: Amounts) -> BudgetStop | None:
    """Return the first limit that a step with the worst case `worst` could exceed, or that is used up."""
    for limit in BudgetLimit:
        allowed = getattr(budget, limit.value)
        if allowed is None:
            continue
        used, more = spent.charged.of(limit), worst.of(limit)
        used_up = limit is BudgetLimit.WALL_S and used >= allowed
        if used + more > allowed or used_up:
            return BudgetStop(limit, used, more, float(allowed))
    return None


def capped(value: _Number, *limits: _Number | None) -> _Number:
    """Return the least of a value and its limits; None is no limit."""
    for limit in limits:
        if limit is not None:
            value = min(value, limit)
    return value


def wall_left_s(budget: Budget, spent: Spent) -> float:
    """Return the seconds that are left; infinity without a limit."""
    return math.inf if budget.wall_s is None else max(0.0, budget.wall_s - spent.charged.wall_s)


def require_prices(budget: Budget, known: bool) -> None:
    """Raise `UsageError` for a limit in USD if the prices of the model are unknown."""
    if budget.usd is not None and not known:
        raise UsageError(
            "the budget limits usd, but the model's profile has no prices",
            "add the prices to the profile, or limit tokens instead: --budget tokens=2M",
        )


def parse_budget(text: str, keys: Sequence[str] = ()) -> Budget:
    """
    Parse `nodes=20,usd=5,gpu-hours=20,tokens=2M,wall=10h`.

    Keys: nodes, evaluations, gpu-hours, wall (s, m, h or d), tokens, prompt-tokens, completion-tokens (k or
    M), usd, repairs; or those in `keys`. Raises `UsageError` for another key, a repeated key or an invalid
    number.
    """
    fields: dict[str, Any] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        key, _, value = part.partition("=")
        if key not in (keys or _KEYS):
            raise UsageError(f"unknown budget key {key[:40]!r}", f"keys: {', '.join(keys or _KEYS)}")
        name, read = _KEYS[key]
        if name in fields:
            raise UsageError(f"the budget contains {key} twice", "pass each key once")
        fields[name] = read(key, value)
    return Budget(**fields)


def _count(key: str, value: str) -> int:
    match = _COUNT.fullmatch(value)
    if match is None:
        raise _invalid(key, value, "a whole number, optionally with k or M, for example 20")
    count = int(match[1]) * SUFFIXES[match[2]]
    if count > _MAX_COUNT:
        raise _invalid(key, value, f"at most {_MAX_COUNT:.0e}")
    return count


def _number(key: str, value: str) -> float:
    if not _NUMBER.fullmatch(value):
        raise _invalid(key, value, "a number, for example 2.5")
    return float(value)


def _hours(key: str, value: str) -> float:
    return 3600.0 * _number(key, value)


def _duration(key: str, value: str) -> float:
    match = _DURATION.fullmatch(value)
    if match is None:
        raise _invalid(key, value, "a number with s, m, h or d, for example 10h")
    return float(match[1]) * SECONDS[match[2]]


def _invalid(key: str, value: str, expected: str) -> UsageError:
    return UsageError(f"invalid budget {key}={value[:40]!r}", f"pass {expected}")


_KEYS: Mapping[str, tuple[str, Callable[[str, str], float]]] = {
    "nodes": ("nodes", _count),
    "evaluations": ("evaluations", _count),
    "gpu-hours": ("gpu_seconds", _hours),
    "wall": ("wall_s", _duration),
    "tokens": ("tokens", _count),
    "prompt-tokens": ("prompt_tokens", _count),
    "completion-tokens": ("completion_tokens", _count),
    "usd": ("usd", _number),
    "repairs": ("repairs_per_node", _count),
}
