"""
Write the bundles of this folder anew, the same every time: `python tests/assets/bundles/make.py`.

good.json is signed by a TEST-ONLY key, and so are the bad ones; `bad_N_fault.json` is refused by step N of
`kit/result/verify.py` and by no other. The files that they bind lie here, too.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from kit.core.codec import pairs
from kit.core.digest import canonical_json, sha256_bytes, tree_digest
from kit.evaluate.compose import Reserved, evidence_of, run_of
from kit.result import derive, dsse, folder, keys, statement
from kit.result.appraisal import trust, verdict
from kit.result.predicate import (
    Audit,
    AuditCheck,
    Cpu,
    Data,
    Environment,
    Hardware,
    Image,
    InputFile,
    Inputs,
    Isolation,
    IsolationCheck,
    IsolationReport,
    Manifest,
    Outcome,
    Predicate,
    RuntimeInfo,
    Score,
    Severity,
    TaskInfo,
    Verdict,
)
from kit.values.cadence import Cadence
from kit.values.deadlines import Deadlines
from kit.values.fidelity import Fidelity
from kit.values.log import Grammar, read_run
from kit.values.profile import Profile
from kit.values.run_result import PhaseTime, RunResult, RunStatus, Teardown, Usage
from kit.values.run_spec import Limits, Phase, RunSpec, RuntimeName
from kit.values.software import Kit
from kit.values.task_id import PAPER_SET

HERE = Path(__file__).parent


def test_only_key(name: str) -> keys.Signer:
    """Return a key that everybody can compute: it protects nothing."""
    scalar = int.from_bytes(hashlib.sha256(f"TEST ONLY {name}".encode()).digest()) % dsse.P256_ORDER
    private = ec.derive_private_key(scalar, ec.SECP256R1())
    return keys._signer(private, throwaway=False)


SIGNER = test_only_key("signer")
STRANGER = test_only_key("stranger")

CADENCE = Cadence(training_every=11, validation_every=10, validates_start=True, guest_clock=True)
"""Of a script that would print one training line in 20 steps."""
SCRIPT = b'"A toy submission."\n'
LINES = (
    (900, "o", "loading"),
    (1_000, "e", "a warning of some library"),
    (1_200, "o", "step:0/20 val_loss:10.8258 train_time:0ms step_avg:nanms"),
    (5_000, "o", "step:11/20 train_time:450ms step_avg:450.00ms"),
    (7_000, "o", "step:10/20 val_loss:4.1234 train_time:2500ms step_avg:250.00ms"),
    (9_400, "o", "step:20/20 val_loss:3.2790 train_time:5000ms step_avg:250.00ms"),
    (9_500, "o", "peak memory consumption: 123 MiB"),
)


def write_run(where: Path) -> None:
    """Write the files beside a bundle."""
    (where / statement.SUBMISSION).mkdir(exist_ok=True)
    (where / statement.SUBMISSION / "train_gpt2.py").write_bytes(SCRIPT)
    (where / statement.LOG).write_bytes(b"".join(f"{text}\n".encode() for _, _, text in LINES))
    stamps = [f'[{ms * 1_000_000},"{stream}",{len(text) + 1},1]\n' for ms, stream, text in LINES]
    (where / statement.STAMPS).write_text("".join(stamps), encoding="ascii")
    (where / folder.SIGNER).write_bytes(SIGNER.public.pem)


def spec() -> RunSpec:
    """Return what the sample run was allowed."""
    return RunSpec(
        run_id="r03-20260101T000000Z-00000000",
        image=None,
        submission=Path("submission"),
        argv=("torchrun", "--nproc_per_node=1", "train_gpt2.py"),
        env=(("OMP_NUM_THREADS", "1"), ("HOME", "/workspace")),
        limits=Limits(memory=4 << 30),
        deadlines=Deadlines(),
    )


def result(where: Path) -> RunResult:
    """Return what the host saw of the sample run."""
    log, stamps = where / statement.LOG, where / statement.STAMPS
    return RunResult(
        run_id=spec().run_id,
        status=RunStatus.COMPLETED,
        reason="the guest exited with 0",
        ended_in=Phase.TEARDOWN,
        clock=None,
        exit_code=0,
        started_at="2026-01-01T00:00:00.000+00:00",
        wall_s=10.0,
        train_wall_s=4.4,
        phases=(
            PhaseTime(Phase.START, 0.9, 300.0),
            PhaseTime(Phase.WARMUP, 4.1, 1500.0),
            PhaseTime(Phase.TRAINING, 4.4, 3600.0),
            PhaseTime(Phase.TEARDOWN, 0.6, 120.0),
        ),
        points=read_run(log, stamps, Grammar.STEP),
        output_bytes=log.stat().st_size,
        output_lines=len(LINES),
        usage=Usage(peak_memory=900 << 20, oom_kills=0),
        teardown=Teardown(0.05, ()),
        log_sha256=sha256_bytes(log.read_bytes()),
        stamps_sha256=sha256_bytes(stamps.read_bytes()),
    )


def environment() -> Environment:
    """Return where the sample ran."""
    digest = sha256_bytes(b"image")
    return Environment(
        era="cpu",
        image=Image(config_digest=digest, manifest_digest=digest),
        fidelity=pairs({"torch": Fidelity.NEAREST, "python": Fidelity.UNKNOWN}),
        runtime=RuntimeInfo(RuntimeName.RUNC, "1.1.5", True, sha256_bytes(b"config"), ()),
        isolation=IsolationReport(
            Isolation.CONTAINED, (IsolationCheck("network", True, "no interface but lo"),)
        ),
    )


def audit() -> Audit:
    """Return what the sample's audits found."""
    return Audit(
        tier_rules=2,
        checks=(
            AuditCheck("source.timer", Severity.FATAL, Outcome.PASSED, "nothing added touches a clock", ()),
            AuditCheck(
                "trace.clock", Severity.FATAL, Outcome.PASSED, "the clocks agree", pairs({"worst_ms": 12.5})
            ),
            *(
                AuditCheck(name, Severity.FATAL, Outcome.PASSED, "in order", ())
                for name in (*trust.SCREENED_PASSED, *trust.SCREENED_JUDGED)
                if name not in ("source.timer", "trace.clock")
            ),
            AuditCheck("canary.to_end", Severity.FATAL, Outcome.SKIPPED, "not asked for", ()),
        ),
    )


def predicate(where: Path) -> Predicate:
    """Return the sample predicate for the files in `where`, as an honest writer derives it."""
    seen = result(where)
    claims = derive.claims_of(seen.points, Grammar.STEP)
    checks = audit()
    submission = (InputFile("train_gpt2.py", len(SCRIPT), sha256_bytes(SCRIPT)),)
    shard = InputFile("smoke_val_000000.bin", 4096, sha256_bytes(b"shard"))
    task = TaskInfo(
        "3", PAPER_SET, Profile.SMOKE, "4", 3.28, "record 3.28",
        tree_digest({"train_gpt2.py": sha256_bytes(b"baseline")}),
    )  # fmt: skip
    found = Predicate(
        run=run_of(spec(), seen, Reserved("00" * 16, "train_gpt2.py", Kit("0.1.0", commit=None))),
        task=task,
        environment=environment(),
        hardware=Hardware(Cpu("a processor", 2), 8 << 30, (), None, pairs({"matmul_gflops": 41.5})),
        inputs=Inputs(
            submission,
            Data("smoke", "synthetic", True, (shard,), 2048),
            Manifest("records/03.toml", sha256_bytes(b"record")),
            held_out=None,
        ),
        claims=claims,
        evidence=evidence_of(claims, CADENCE, 1),
        observations=derive.observations_of(seen),
        audit=checks,
        score=Score(verdict.judge(seen.status, claims, task.target_val_loss, checks.checks), False, (), None),
    )
    return replace(found, score=replace(found.score, unranked_because=verdict.ranking_blockers(found)))


def subjects(where: Path) -> statement.Subjects:
    """Return the digests of the files in `where`."""
    return folder.subjects(where)


def signed(payload: bytes, signer: keys.Signer = SIGNER, payload_type: str = dsse.PAYLOAD_TYPE) -> bytes:
    """Return a bundle over any payload, as a signer who checks nothing could make it."""
    signature = signer.sign(dsse.pae(payload_type, payload))
    return dsse.dump(dsse.Envelope(payload, payload_type, signature, signer.key_id))


def edited(bundle: bytes, change: Callable[[Any], None]) -> bytes:
    """Return a bundle with its own JSON changed, in canonical form."""
    document = json.loads(bundle)
    change(document)
    return canonical_json(document)


def payload_of(bundle: bytes) -> Any:
    """Return the payload's JSON."""
    return json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))


def with_payload(bundle: bytes, change: Callable[[Any], None]) -> bytes:
    """Return the bundle with its payload changed and signed anew."""
    document = payload_of(bundle)
    change(document)
    return signed(canonical_json(document))


def high_s(document: Any) -> None:
    """Replace (r, s) by (r, n - s)."""
    sig = document["dsseEnvelope"]["signatures"][0]
    r, s = decode_dss_signature(base64.b64decode(sig["sig"]))
    sig["sig"] = base64.b64encode(encode_dss_signature(r, dsse.P256_ORDER - s)).decode()


def padding_bits(document: Any) -> None:
    """Set a bit of the signature's last base64 character that decodes to nothing."""
    sig = document["dsseEnvelope"]["signatures"][0]
    text = sig["sig"]
    body = text.rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    if body == text:
        raise ValueError("this signature has no padding; change the sample's nonce")
    sig["sig"] = body[:-1] + alphabet[alphabet.index(body[-1]) | 1] + text[len(body) :]


def edit_fsr(document: Any) -> None:
    """Change a value inside the payload and leave the signature as it is."""
    payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    payload["predicate"]["score"]["fsr"] = 0.9
    document["dsseEnvelope"]["payload"] = base64.b64encode(canonical_json(payload)).decode()


def set_nonce(document: Any) -> None:
    """Break a pattern of the schema."""
    document["predicate"]["run"]["nonce"] = "not hexadecimal"


def other_log(document: Any) -> None:
    """Bind another log than the one beside the bundle."""
    document["subject"][0]["digest"]["sha256"] = sha256_bytes(b"another log")


def lower_loss(document: Any) -> None:
    """Claim a loss that the log does not hold."""
    claims = document["predicate"]["claims"]
    claims["final_val_loss"] = claims["val_points"][-1]["val_loss"] = 3.2


def missed(document: Any) -> None:
    """State a verdict that does not follow from the claims."""
    score = document["predicate"]["score"]
    score["verdict"] = Verdict.MISSED.value


def bundles(where: Path) -> dict[str, bytes]:
    """Return every bundle of this folder by name."""
    good = keys.seal(statement.statement(predicate(where), subjects(where)), SIGNER)
    payload = base64.b64decode(json.loads(good)["dsseEnvelope"]["payload"])
    twice = good.replace(b'"mediaType":', b'"mediaType":"","mediaType":', 1)

    def two(document: Any) -> None:
        document["dsseEnvelope"]["signatures"] *= 2

    return {
        "good.json": good,
        "bad_0_pretty_printed.json": json.dumps(json.loads(good), indent=2).encode(),
        "bad_0_duplicate_key.json": twice,
        "bad_1_high_s.json": edited(good, high_s),
        "bad_1_padding_bits.json": edited(good, padding_bits),
        "bad_1_two_signatures.json": edited(good, two),
        "bad_2_unknown_key.json": signed(payload, STRANGER),
        "bad_3_payload_edited.json": edited(good, edit_fsr),
        "bad_4_other_payload_type.json": signed(payload, payload_type="application/json"),
        "bad_4_payload_pretty_printed.json": signed(json.dumps(json.loads(payload)).encode()),
        "bad_5_nonce_not_hexadecimal.json": with_payload(good, set_nonce),
        "bad_6_other_log.json": with_payload(good, other_log),
        "bad_7_loss_not_in_log.json": with_payload(good, lower_loss),
        "bad_7_verdict_does_not_follow.json": with_payload(good, missed),
    }


def main() -> None:
    """Write all files."""
    write_run(HERE)
    for name, data in bundles(HERE).items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
