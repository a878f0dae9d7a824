"""Format the report of a plan for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from kit.cli.submission_text import left_out_line
from kit.cli.terminal import megabytes
from kit.evaluate.describe import PlannedFile, PlanReport
from kit.gpu.preflight import Level, PreflightFinding

MARKS = {Level.OK: "ok     ", Level.WARNING: "warning", Level.REFUSAL: "REFUSED"}


def format_plan(plan: PlanReport, audits: Sequence[str] = ()) -> list[str]:
    """Return the plan for a person, line by line; `audits` are those that make further runs."""
    pinned = sum(a.sha256 is not None for a in plan.artifacts)
    width = max((len(a.kind) for a in plan.missing), default=0)
    return [
        f"record {plan.record}, profile {plan.profile}: runtime {plan.runtime}, image {plan.image}",
        f"  command    {' '.join(plan.argv)}",
        f"  processes  {plan.world_size} ranks, {plan.gpus} GPUs",
        *_devices(plan),
        f"  target     val_loss <= {plan.target_val_loss:g} on {plan.val_tokens:,} tokens",
        "  mounts     read-only",
        *(f"    {path}  {what}" for path, what in plan.mounts.items()),
        "  limits",
        *(f"    {name:<11} {_limit(name, value)}" for name, value in asdict(plan.limits).items()),
        "  deadlines",
        *(f"    {name.removesuffix('_s'):<11} {value:g} s" for name, value in asdict(plan.deadlines).items()),
        f"  compiling  {_compile_cache(plan)}",
        *((f"  audits     {', '.join(audits)}: further runs, with the same deadlines",) if audits else ()),
        f"  artifacts  {len(plan.artifacts)}, {pinned} of them pinned by sha256; "
        f"{len(plan.missing)} to download, {megabytes(plan.download_bytes)}",
        *(
            f"    {megabytes(a.size):>9}  {a.kind:<{width}}  {a.name}"
            for a in sorted(plan.missing, key=_by_kind)
        ),
        *((f"  submission {left_out_line(plan.left_out)}",) if plan.left_out else ()),
        f"  store      {plan.store}",
        f"  result     {plan.out}/<run_id>/result.json",
        *_findings(plan.findings),
    ]


def _compile_cache(plan: PlanReport) -> str:
    known = plan.compile_cache_sha256
    return f"{plan.compile_cache} cache" + (f", sha256 {known}" if known else "")


def _devices(plan: PlanReport) -> Iterator[str]:
    if not plan.gpus:
        return
    yield "  devices"
    yield f"    {', '.join(plan.devices.control)}"
    for gpu in plan.devices.gpus:
        yield f"    {gpu.path}  {gpu.name}, {megabytes(gpu.memory)}, {gpu.uuid}"
    if not plan.devices.gpus:
        yield "    one /dev/nvidia<n> for each GPU"


def _by_kind(file: PlannedFile) -> tuple[str, int, str]:
    return file.kind, -file.size, file.name


def _findings(findings: tuple[PreflightFinding, ...]) -> Iterator[str]:
    if findings:
        yield "  findings"
    for finding in findings:
        yield f"    {MARKS[finding.level]}  {finding.id}: {finding.detail}"
        if finding.fix:
            yield f"             hint: {finding.fix}"
    refused = sum(finding.level is Level.REFUSAL for finding in findings)
    if refused:
        yield f"  this run would be refused on this machine, for {refused} of these findings"


def _limit(name: str, value: int) -> str:
    return f"{value}" if name in ("pids", "open_files") else megabytes(value)
