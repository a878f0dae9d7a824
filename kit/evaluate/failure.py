"""
Find in a guest's output why it failed: its first traceback, without torchrun's report. Decides no status.

Every rank prints its own traceback to the same pipe, so lines of several ranks may alternate. PyTorch marks
them with `[rank0]:` once the process group exists; before that they carry no mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 1 << 20
"""Only the end of the output is searched; a limit of 64 MiB is usual."""
LAST_LINES = 12
"""Lines that are returned where there is no traceback."""
MAX_LINES = 32
"""Lines of a traceback that are returned; the middle of a longer one is left out."""
MESSAGE_LINES = 4
"""Further lines of an exception's message that are kept."""

HEAD = "Traceback (most recent call last):"
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_RANK = re.compile(r"\[rank([0-9]{1,4})\]:(?: (.*)|)", re.ASCII | re.DOTALL)
_SYNTAX_ERROR_HEAD = re.compile(r'  File "[^"]+", line [0-9]+')
_GLOG = re.compile(r"[EWIF][0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}\.", re.ASCII)
"""A line of torch's own log."""
_TORCHRUN_REPORT = re.compile(r".*\bfailed \(exitcode: (-?[0-9]+)\) local_rank: ([0-9]+)", re.ASCII)
"""The first line of what torchrun prints after a worker failed."""
_NO_CUDA = re.compile(
    r"not compiled with CUDA enabled|No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver version"
    r"|torch\._C' has no attribute '_cuda|Distributed package doesn't have NCCL|ProcessGroupNCCL"
    r"|dummy base class (Event|Stream|_Cuda\w+)|No module named 'triton'"
)
"""What PyTorch's CPU build says where a script uses CUDA."""
_CLAIM = re.compile(r"step:[0-9]+/[0-9]+ |s:[0-9]+ t[er]l:", re.ASCII)


@dataclass(frozen=True, slots=True)
class GuestFailure:
    """The part of a guest's output that says why it failed."""

    lines: tuple[str, ...]
    ranks: tuple[int, ...]
    """The ranks that printed it, sorted; empty if the output does not say so."""
    is_traceback: bool
    """Whether `lines` are a traceback; if not, they are the last lines of the output."""


def lacks_cuda(failure: GuestFailure) -> bool:
    """Tell whether a script failed because it uses CUDA, and the machine or the image has none."""
    return any(_NO_CUDA.search(line) for line in failure.lines)


def read_failure(log: Path) -> GuestFailure:
    """Return why the guest failed, from the end of its stored output. Raises `OSError`."""
    with log.open("rb") as f:
        start = max(f.seek(0, 2) - TAIL_BYTES, 0)
        f.seek(start)
        text = f.read(TAIL_BYTES).decode("utf-8", "replace")
    return find_failure(text.split("\n")[1 if start else 0 :])


def find_failure(lines: Iterable[str]) -> GuestFailure:
    """Return the first traceback of `lines`, or the last lines before torchrun's report."""
    own = _without_torchrun(lines)
    tracebacks = {rank: _first_traceback(printed) for rank, printed in _by_rank(own).items()}
    first = next((rank for rank in tracebacks if tracebacks[rank]), None)
    if not tracebacks.get(first):
        last = [line for line in own if line.strip()]
        return GuestFailure(tuple(_without_repeats(last)[-LAST_LINES:]), (), False)
    shown = tracebacks[first]
    same = (rank for rank, lines in tracebacks.items() if rank is not None and lines[-1:] == shown[-1:])
    return GuestFailure(_shortened(shown), tuple(sorted(same)) if first is not None else (), True)


def _without_torchrun(lines: Iterable[str]) -> list[str]:
    """Return the guest's own lines: torchrun's report ends them, its log lines are left out."""
    own: list[str] = []
    for line in lines:
        if _TORCHRUN_REPORT.match(line):
            break
        if not _GLOG.match(line):
            own.append(line.rstrip("\r"))
    return own


def _by_rank(lines: list[str]) -> dict[int | None, list[str]]:
    """Sort lines by the rank that they are marked with, in the order of the ranks' first traceback."""
    printed: dict[int | None, list[str]] = {}
    heads: list[int | None] = []
    for line in lines:
        match = _RANK.fullmatch(line)
        rank = int(match[1]) if match else None
        text = (match[2] or "") if match else line
        printed.setdefault(rank, []).append(text)
        if _is_head(text) and rank not in heads:
            heads.append(rank)
    return {rank: printed[rank] for rank in heads}


def _is_head(line: str) -> bool:
    return line == HEAD or _SYNTAX_ERROR_HEAD.fullmatch(line) is not None


def _first_traceback(lines: list[str]) -> list[str]:
    """
    Return the first traceback, with those that it is chained to.

    Ranks without a mark print the same lines at the same time. A line that another rank prints again is
    left out: `behind` holds how far each of the other ranks has come.
    """
    shown: list[str] = []
    behind: list[int] = []
    head = extra = 0
    for line in lines:
        chained = bool(shown) and _last_text(shown) in CHAINED
        if not shown:
            if _is_head(line):
                shown.append(line)
            continue
        again = next((i for i, at in enumerate(behind) if at < len(shown) and shown[at] == line), None)
        if again is not None:
            behind[again] += 1
        elif chained and line == HEAD:
            head, extra = len(shown), 0
            shown.append(line)
        elif line == shown[0]:
            behind.append(1)
        elif line == HEAD:
            break
        elif not _CLAIM.match(line):
            if _has_message(shown[head + 1 :]):
                extra += 1
                if not _belongs(shown, line) or (extra > MESSAGE_LINES and line not in CHAINED):
                    break
            shown.append(line)
    while shown and not shown[-1].strip():
        shown.pop()
    return shown


def _last_text(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def _has_message(lines: list[str]) -> bool:
    """Tell whether the exception's own line has come: the first that is not indented."""
    return any(line and not line[0].isspace() for line in lines)


def _belongs(shown: list[str], line: str) -> bool:
    """Tell whether a line after the exception's own belongs to its message, or chains it to the next."""
    return line in CHAINED or not line.strip() or (bool(shown[-1].strip()) and shown[-1] not in CHAINED)


def _without_repeats(lines: list[str]) -> list[str]:
    """Leave a line out that repeats the one before it: several ranks print the same."""
    kept: list[str] = []
    for line in lines:
        match = _RANK.fullmatch(line)
        text = (match[2] or "") if match else line
        if not kept or kept[-1] != text:
            kept.append(text)
    return kept


def _shortened(lines: list[str]) -> tuple[str, ...]:
    left_out = len(lines) - MAX_LINES
    if left_out <= 0:
        return tuple(lines)
    head = MAX_LINES // 4
    return (*lines[:head], f"... {left_out} more lines ...", *lines[head + left_out :])
