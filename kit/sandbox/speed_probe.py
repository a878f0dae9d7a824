"""
How fast the GPUs of a run are, measured by a guest of the kit's own before the submission's. Judges nothing.

The figures tell machines apart: two boxes with the same model of GPU need not be equally fast.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from kit.core.errors import KitError, SchemaError
from kit.core.facts import guest_file
from kit.core.schema import parse_json
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.run_result import RunStatus
from kit.values.run_spec import MIB, Mount, RunSpec

SCRIPT = guest_file("probe.py")
TARGET = PurePosixPath("/input/probe.py")
WITHIN_S = 60.0
"""On eight GPUs it takes a third of that."""
DEADLINES = Deadlines(
    start_s=WITHIN_S, warmup_s=WITHIN_S, stall_s=WITHIN_S, teardown_s=WITHIN_S, total_s=WITHIN_S
)
MOST_OUTPUT = MIB
NAMES = re.compile(
    r"seconds|all_reduce_gbs|gpu(?P<gpu>0|[1-9][0-9]{0,2})\.(?:matmul_bf16_tflops|copy_gbs|sm_clock_mhz"
    r"|sm_clock_max_mhz|memory_clock_mhz|power_limit_w|temperature_c|multiprocessors)",
    re.ASCII,
)
REQUIRED = ("matmul_bf16_tflops", "copy_gbs")
"""Of every GPU."""
MOST = 1e7
"""No figure is as large."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured, or why not."""

    figures: tuple[tuple[str, float], ...]
    """Names as in `kit/guest/probe.py`, sorted."""
    seconds: float
    """All that it took, on the host's clock."""
    fault: str = ""
    """Why there are no figures; empty if there are."""


def measure(runtime: Runtime, spec: RunSpec, python: str, scratch: Path) -> Speed:
    """
    Start the speed probe where the guest will run, without submission and data, and return its figures.

    `python` is the interpreter as the guest sees it. A probe that fails or talks nonsense is a fault, not an
    exception: the run may go on, unranked. Raises what the runtime's start raises.
    """
    began = time.monotonic()
    with guest_directory(scratch, "speed-") as directory:
        nothing = directory / "nothing"
        nothing.mkdir()
        nothing.chmod(0o755)
        probe_spec = replace(
            spec,
            submission=nothing,
            argv=(python, "-I", str(TARGET)) if runtime.contains else (python, "-I", str(SCRIPT)),
            folders=(),
            mounts=(Mount(SCRIPT, TARGET),),
            limits=replace(spec.limits, output=MOST_OUTPUT),
            deadlines=DEADLINES,
        )
        with run_guest(runtime, probe_spec, directory) as run:
            stdout, stderr_tail = run.output.stdout(), run.output.stderr_tail()
    seconds = time.monotonic() - began
    if run.result.status is not RunStatus.COMPLETED:
        return Speed((), seconds, f"it did not finish: {run.result.reason}: {stderr_tail}")
    try:
        return Speed(parse(stdout, spec.gpus), seconds)
    except KitError as e:
        return Speed((), seconds, e.message)


def parse(stdout: bytes, gpus: int) -> tuple[tuple[str, float], ...]:
    """
    Read the probe's answer: one JSON object of known names and plausible numbers, for exactly `gpus` GPUs.

    Raises `SchemaError` for anything else. Whether the numbers are true is not checked.
    """
    document = parse_json(stdout, "the speed probe's answer")
    if not isinstance(document, dict):
        raise SchemaError("the speed probe's answer is no object")
    figures = {name: _figure(name, value) for name, value in document.items()}
    named = {int(m["gpu"]) for name in figures if (m := NAMES.fullmatch(name)) and m["gpu"]}
    lacking = {f"gpu{n}.{name}" for n in range(gpus) for name in REQUIRED} - figures.keys()
    if named != set(range(gpus)) or lacking:
        raise SchemaError(f"the speed probe answered for {len(named)} GPUs of {gpus}")
    return tuple(sorted(figures.items()))


def _figure(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not NAMES.fullmatch(name) or not number or not 0 < value < MOST:
        raise SchemaError(f"the speed probe's answer holds what is no figure of it: {name[:64]!r}")
    return float(value)
