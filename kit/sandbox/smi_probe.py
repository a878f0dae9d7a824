"""Check inside a short guest that nvidia-smi answers: upstream's scripts, Inductor and Triton call it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kit.core.errors import PrerequisiteError
from kit.core.files import make_readable
from kit.core.text import one_line
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.run_result import RunStatus
from kit.values.run_spec import MIB, RunSpec

WITHIN_S = 60.0
"""The driver may have to initialize eight GPUs first."""
DEADLINES = Deadlines(
    start_s=WITHIN_S, warmup_s=WITHIN_S, stall_s=WITHIN_S, teardown_s=WITHIN_S, total_s=WITHIN_S
)
HINT = "link the driver's nvidia-smi binary, not a wrapper script, into /usr/local/bin"


def require_nvidia_smi(runtime: Runtime, spec: RunSpec, scratch: Path) -> None:
    """
    Run `nvidia-smi -L` in the guest's environment, without submission and data.

    Raises `PrerequisiteError` if it fails or does not list all GPUs of the run, and what the runtime's start
    raises.
    """
    with guest_directory(scratch, "smi-") as directory:
        smi_spec = replace(
            spec,
            submission=make_readable(directory / "nothing", directory),
            argv=("nvidia-smi", "-L"),
            folders=(),
            mounts=(),
            limits=replace(spec.limits, output=MIB),
            deadlines=DEADLINES,
        )
        with run_guest(runtime, smi_spec, directory) as run:
            listed, stderr_tail = run.output.stdout().decode(errors="replace"), run.output.stderr_tail()
    if run.result.status is not RunStatus.COMPLETED:
        said = one_line(stderr_tail or listed)[-300:]
        raise PrerequisiteError(
            f"nvidia-smi does not answer inside the container: {run.result.reason}: {said}", HINT
        )
    missing = [gpu.uuid for gpu in spec.gpu_devices if gpu.uuid not in listed]
    if missing:
        raise PrerequisiteError(
            f"nvidia-smi inside the container does not list GPU {missing[0]} of the run", HINT
        )
