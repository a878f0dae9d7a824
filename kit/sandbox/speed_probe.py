"""
Measure the speed of a run's GPUs with a trusted guest, before the submission runs.

The figures distinguish machines: two machines with the same GPU model can differ in speed.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from kit.core.errors import KitError, SchemaError
from kit.core.facts import guest_file
from kit.core.files import make_readable, readable_copy
from kit.core.schema import parse_json
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.run_result import RunStatus
from kit.values.run_spec import MIB, Mount, RunSpec

SCRIPT = guest_file("probe.py")
TARGET = PurePosixPath("/input/probe.py")
WITHIN_S = 60.0
"""On eight GPUs the probe takes about 20 s."""
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
"""Fields that the output must contain for every GPU."""
MOST = 1e7
"""Upper bound of every figure."""


@dataclass(frozen=True, slots=True)
class GpuSpeed:
    """The figures of the speed probe, or the reason why there are none."""

    figures: tuple[tuple[str, float], ...]
    """Names as in `kit/guest/probe.py`, sorted."""
    seconds: float
    """Duration of the probe on the host's clock."""
    fault: str = ""
    """Why the probe failed; empty if it succeeded."""


def measure(runtime: Runtime, spec: RunSpec, python: str, scratch: Path) -> GpuSpeed:
    """
    Run the speed probe in the guest's environment, without submission and data, and return its figures.

    `python` is the interpreter's path inside the guest. A failed probe or invalid output is returned as a
    fault, not raised: the run may continue, unranked. Raises what the runtime's start raises.
    """
    began = time.monotonic()
    with guest_directory(scratch, "speed-") as directory:
        nothing = make_readable(directory / "nothing", directory)
        script = readable_copy(SCRIPT, directory)
        probe_spec = replace(
            spec,
            submission=nothing,
            argv=(python, "-I", str(TARGET)) if runtime.contains else (python, "-I", str(SCRIPT)),
            folders=(),
            mounts=(Mount(script, TARGET),),
            limits=replace(spec.limits, output=MOST_OUTPUT),
            deadlines=DEADLINES,
        )
        with run_guest(runtime, probe_spec, directory) as run:
            stdout, stderr_tail = run.output.stdout(), run.output.stderr_tail()
    seconds = time.monotonic() - began
    if run.result.status is not RunStatus.COMPLETED:
        return GpuSpeed((), seconds, f"the probe did not finish: {run.result.reason}: {stderr_tail}")
    try:
        return GpuSpeed(parse(stdout, spec.gpus), seconds)
    except KitError as e:
        return GpuSpeed((), seconds, e.message)


def parse(stdout: bytes, gpus: int) -> tuple[tuple[str, float], ...]:
    """
    Parse the probe's output: one JSON object with known fields and plausible numbers for exactly `gpus` GPUs.

    Raises `SchemaError` for anything else. Does not check whether the numbers are true.
    """
    document = parse_json(stdout, "the output of the speed probe")
    if not isinstance(document, dict):
        raise SchemaError("the output of the speed probe is not a JSON object")
    figures = {name: _figure(name, value) for name, value in document.items()}
    named = {int(m["gpu"]) for name in figures if (m := NAMES.fullmatch(name)) and m["gpu"]}
    lacking = {f"gpu{n}.{name}" for n in range(gpus) for name in REQUIRED} - figures.keys()
    if named != set(range(gpus)) or lacking:
        raise SchemaError(
            f"wrong number of GPUs in the output of the speed probe: {len(named)}, expected {gpus}"
        )
    return tuple(sorted(figures.items()))


def _figure(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not NAMES.fullmatch(name) or not number or not 0 < value < MOST:
        raise SchemaError(f"the output of the speed probe contains an invalid field: {name[:64]!r}")
    return float(value)
