"""Prints honest run folders like the sample, for tests of submissions, boards and series. TEST-ONLY keys."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, sha256_bytes, tree_digest
from kit.evaluate.compose import evidence_of
from kit.result import derive, folder, keys, statement
from kit.result.appraisal import trust, verdict
from kit.result.predicate import (
    AuditCheck,
    Data,
    Gpu,
    InputFile,
    Isolation,
    IsolationReport,
    Outcome,
    Predicate,
    Severity,
)
from kit.values.log import Grammar, read_run
from kit.values.profile import Profile
from kit.values.run_result import RunStatus
from kit.values.run_spec import RuntimeName

HERE = Path(__file__).parent


def _make() -> Any:
    if "bundle_assets_make" in sys.modules:
        return sys.modules["bundle_assets_make"]
    spec = importlib.util.spec_from_file_location("bundle_assets_make", HERE / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MAKE = _make()
CADENCE = replace(MAKE.CADENCE, training_every=1)


@dataclass(frozen=True)
class Sample:
    """What differs from the sample run; the rest is derived as an honest writer does."""

    number: int = 0
    """Makes id, nonce and output unique."""
    record: int = 3
    next_record: int | None = 4
    task: str | None = None
    """Name of a smoke task, whose runs have the number 0."""
    profile: Profile = Profile.FULL
    runtime: RuntimeName = RuntimeName.RUNC
    final_loss: float = 3.2790
    time_ms: int = 5000
    late_s: float = 0.0
    """Seconds that its own clock does not show, beyond 1.2."""
    tier: str = "canary"
    """The highest tier that its checks allow."""
    script: bytes = b""
    entry: str = "train_gpt2.py"
    more: tuple[tuple[str, bytes], ...] = ()
    """Further files of the submission, sorted by name after the entry."""
    gpu: str = "NVIDIA H100 80GB HBM3"
    pinned: bool = True
    log: str | None = None
    """A text of its own instead of the number, to repeat an output."""
    nonce: str | None = None
    extra: tuple[tuple[str, Any], ...] = ()
    """Fields of the predicate that are other than derived."""


def press(where: Path, sample: Sample, signer: keys.Signer = MAKE.SIGNER) -> Path:
    """Write one run's folder below `where` and return it."""
    run_id = f"r{sample.record:02d}-20260101T000000Z-{sample.number:08x}"
    target = where / run_id
    (target / "submission").mkdir(parents=True)
    script = sample.script or f"# submission {sample.number % 7}\n".encode()
    (target / "submission" / sample.entry).write_bytes(script)
    for name, data in sample.more:
        (target / "submission" / name).write_bytes(data)
    _write_log(target, sample)
    (target / folder.SIGNER).write_bytes(signer.public.pem)
    found = _predicate(target, sample, run_id, script)
    payload = statement.statement(found, folder.subjects(target))
    (target / folder.BUNDLE).write_bytes(keys.seal(payload, signer))
    return target


def _write_log(target: Path, sample: Sample) -> None:
    step, begin = sample.time_ms / 20, 1.2 + sample.late_s
    losses = {0: 10.8258, 5: 6.2, 10: 4.1234, 15: 3.6, 20: sample.final_loss}
    lines = [(0.9, sample.log or f"run {sample.number}")]
    for at in range(21):
        second, time = begin + step * at / 1000, f"train_time:{round(step * at)}ms step_avg:1.00ms"
        if at:
            lines.append((second, f"step:{at}/20 {time}"))
        if at in losses:
            lines.append((second, f"step:{at}/20 val_loss:{losses[at]:.4f} {time}"))
    (target / statement.LOG).write_bytes(b"".join(f"{text}\n".encode() for _, text in lines))
    stamps = [f'[{round(second * 1e9)},"o",{len(text) + 1},1]\n' for second, text in lines]
    (target / statement.STAMPS).write_text("".join(stamps), encoding="ascii")


def checks_for(tier: str) -> tuple[AuditCheck, ...]:
    """Return checks that reach a tier, each passed, with those that a ranked full run needs."""
    screened = dict.fromkeys((*trust.SCREENED_PASSED, *trust.SCREENED_JUDGED))
    canary = dict.fromkeys((*screened, *trust.CANARY_PASSED, trust.FLOOR))
    names = {
        "self-reported": trust.TIME_PASSED,
        "screened": screened,
        "canary": canary,
        "canary + held-out": (*canary, *trust.HELD_OUT_PASSED),
    }[tier]
    ranked = (*names, "baseline.warmup")
    return tuple(AuditCheck(name, Severity.FATAL, Outcome.PASSED, "in order", ()) for name in ranked)


def _predicate(target: Path, sample: Sample, run_id: str, script: bytes) -> Predicate:
    plain = MAKE.predicate(HERE)
    log, stamps = target / statement.LOG, target / statement.STAMPS
    points = read_run(log, stamps, Grammar.STEP)
    seen = replace(
        MAKE.result(HERE), run_id=run_id, points=points, output_bytes=log.stat().st_size,
        wall_s=2.0 + sample.late_s + sample.time_ms / 1000, train_wall_s=sample.time_ms / 1000, phases=(),
    )  # fmt: skip
    gpus = 8 if sample.profile is Profile.FULL else 0
    claims = derive.claims_of(points, Grammar.STEP)
    checks = checks_for(sample.tier)
    isolation = plain.environment.isolation
    contains = sample.runtime is not RuntimeName.HOST
    found = replace(
        plain,
        run=replace(
            plain.run, id=run_id, nonce=sample.nonce or f"{sample.number:032x}",
            status=RunStatus.COMPLETED, gpus=gpus, entry=sample.entry,
        ),
        task=replace(
            plain.task, id=sample.task or str(sample.record), profile=sample.profile,
            target=None if sample.next_record is None else str(sample.next_record),
        ),
        environment=replace(
            plain.environment,
            runtime=replace(plain.environment.runtime, name=sample.runtime, contains=contains),
            isolation=isolation if contains else IsolationReport(Isolation.NONE, ()),
        ),
        hardware=replace(
            plain.hardware,
            gpus=tuple(Gpu(i, sample.gpu, f"GPU-{i}", 80 << 30) for i in range(gpus)),
            driver="570",
        ),
        inputs=replace(
            plain.inputs,
            submission=tuple(
                InputFile(name, len(data), sha256_bytes(data))
                for name, data in ((sample.entry, script), *sample.more)
            ),
            data=Data("fineweb10B", "tokens", sample.pinned, plain.inputs.data.files, 10_485_760),
        ),
        claims=claims,
        evidence=evidence_of(claims, CADENCE, derive.count_training_lines(points)),
        observations=derive.observations_of(seen),
        audit=replace(plain.audit, checks=checks),
    )  # fmt: skip
    found = replace(found, **dict(sample.extra))
    judged = verdict.judge(found.run.status, claims, found.task.target_val_loss, found.audit.checks)
    found = replace(found, score=replace(found.score, verdict=judged))
    against = verdict.ranking_blockers(found)
    return replace(found, score=replace(found.score, ranked=not against, unranked_because=against))


def tree_of(script: bytes, entry: str = "train_gpt2.py") -> Sha256:
    """Return the digest of a submission of one file."""
    return tree_digest({entry: sha256_bytes(script)})
