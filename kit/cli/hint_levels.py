"""Read the value of `--hints`."""

from __future__ import annotations

from kit.benchmark.hints import HintLevel
from kit.core.errors import UsageError


def hint_levels(text: str) -> tuple[HintLevel, ...]:
    """Return the levels of `0`, `2` or `1,3`. Raises `UsageError` for any other text."""
    try:
        hints = tuple(HintLevel(int(part)) for part in text.split(","))
    except ValueError as e:
        raise UsageError(
            f"--hints {text!r} is not a list of levels", "for example: --hints 0, --hints 2, --hints 1,3"
        ) from e
    if HintLevel.NONE in hints and len(hints) > 1:
        raise UsageError(
            f"--hints {text!r}: 0 (no hints) cannot be combined with other levels",
            "for example: --hints 0, or --hints 1,3",
        )
    return hints


def hint_numbers(text: str) -> tuple[int, ...]:
    """Return the levels of `--hints` as numbers, in ascending order and each once; `0` has none."""
    return tuple(sorted({int(level) for level in hint_levels(text)} - {0}))
