"""Optional extras that commands need, checked before anything that needs them is imported."""

from __future__ import annotations

from kit.core.errors import PrerequisiteError
from kit.core.extras import install_command


def require_score() -> None:
    """Raise `PrerequisiteError` if the extra `score` is not installed."""
    try:
        import kit.score.metrics  # noqa: F401
    except ModuleNotFoundError as e:
        if e.name is None or e.name.split(".")[0] not in ("numpy", "scipy"):
            raise
        raise PrerequisiteError(f"{e.name} is not installed", install_command("score")) from e
