"""Check the limits of this process (`ulimit`) that a guest inherits: it must not fail because of them."""

from __future__ import annotations

from dataclasses import dataclass

from kit.core.errors import PrerequisiteError
from kit.values.run_spec import GIB, MIB


@dataclass(frozen=True, slots=True)
class InheritedLimit:
    """A limit, the least value that runs need, and how a shell sets it."""

    number: int
    """One of `resource.RLIMIT_*`."""
    noun: str
    least: int
    """Files, processes or bytes."""
    option: str
    """Of the shell's `ulimit`."""
    unit: int = 1
    """Bytes, or 1; of the option's value."""


def inherited_limits(memory: int) -> tuple[InheritedLimit, ...]:
    """Return the limits that a guest with `memory` bytes needs."""
    import resource  # not on Windows, where only results are read

    return (
        InheritedLimit(resource.RLIMIT_NOFILE, "open files", 256, "-n"),
        InheritedLimit(resource.RLIMIT_NPROC, "processes", 256, "-u"),
        InheritedLimit(resource.RLIMIT_FSIZE, "the size of a file", GIB, "-f", 1024),
        InheritedLimit(resource.RLIMIT_AS, "virtual memory", memory, "-v", 1024),
        InheritedLimit(resource.RLIMIT_DATA, "the data segment", memory, "-d", 1024),
        InheritedLimit(resource.RLIMIT_STACK, "the stack", MIB, "-s", 1024),
    )


def require_limits(memory: int) -> None:
    """
    Raise the soft limits of this process that are too low for a guest with `memory` bytes.

    Raises `PrerequisiteError` naming the first one whose hard limit is too low.
    """
    import resource  # as above

    for limit in inherited_limits(memory):
        soft, hard = resource.getrlimit(limit.number)
        if _enough(soft, limit.least):
            continue
        if not _enough(hard, limit.least):
            raise PrerequisiteError(
                f"the limit on {limit.noun} is too low for a run: {hard // limit.unit},"
                f" needed: {-(-limit.least // limit.unit)} (ulimit {limit.option})",
                f"raise it in a new shell, as root if necessary: ulimit {limit.option} "
                f"{'unlimited' if limit.unit > 1 else 4096}",
            )
        resource.setrlimit(limit.number, (limit.least, hard))


def _enough(value: int, least: int) -> bool:
    import resource  # as above

    return value == resource.RLIM_INFINITY or value >= least
