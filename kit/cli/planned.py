"""`eval --plan` in words and as JSON: what would be fetched, mounted and limited. Fetches nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kit.cli.terminal import megabytes, printable

if TYPE_CHECKING:
    from kit.evaluate.plan import RunPlan
    from kit.evaluate.request import Places
    from kit.gpu.preflight import Preflight

MARKS = {"ok": "ok     ", "warning": "warning", "refusal": "REFUSED"}


def describe(plan: RunPlan, places: Places) -> dict[str, Any]:
    """Return the plan as one JSON object; sizes are bytes, times seconds."""
    from kit.evaluate.gpus import look
    from kit.evaluate.plan import search_path
    from kit.values.run_spec import WORKSPACE

    preflight = look(plan, places)
    image, findings = _image(plan, places)
    data, pinned = _data(plan, places)
    artifacts = [*image, *data, *_script(plan, places)]
    findings += [_finding(f.id, f.level, f.detail, f.fix) for f in preflight.findings]
    findings += _data_findings(plan, data, pinned)
    findings += [_finding("ranking", "warning", reason, "") for reason in plan.ranking_blockers]
    return {
        "record": plan.record.number,
        "profile": plan.profile,
        "runtime": plan.runtime.name,
        "image": plan.era,
        "argv": list(plan.launcher()),
        "env": {"PATH": search_path(plan.era, plan.python), **dict(plan.env)},
        "world_size": plan.world_size,
        "gpus": plan.gpus,
        "devices": _devices(plan, preflight),
        "mounts": _mounts(plan),
        "workspace": {"path": str(WORKSPACE), "folders": list(plan.folders)},
        "limits": asdict(plan.limits),
        "deadlines": asdict(plan.deadlines),
        "untimed_steps": plan.untimed_steps,
        "target_val_loss": plan.target_val_loss,
        "val_tokens": plan.val_tokens,
        "artifacts": artifacts,
        "download_bytes": sum(a["size"] for a in artifacts if not a["present"]),
        "findings": findings,
        "out": str(places.out),
        "store": str(places.store.root),
    }


def _finding(name: str, level: str, detail: str, fix: str) -> dict[str, str]:
    return {"id": name, "level": level, "detail": detail, "fix": fix}


def _image(plan: RunPlan, places: Places) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    from kit.core.errors import KitError
    from kit.evaluate.request import HOST_IMAGE
    from kit.image.lock import read_lock
    from kit.image.spec import read_spec

    if plan.era == HOST_IMAGE:
        return [], []
    try:
        lock = read_lock(read_spec(places.images, plan.era))
    except KitError as e:
        return [], [_finding("image", "refusal", e.message, e.hint)]
    found = [
        _artifact("image", a.name, a.size, a.sha256, places.store.has(a)) for a in (*lock.debs, *lock.wheels)
    ]
    return found, []


def _data(plan: RunPlan, places: Places) -> tuple[list[dict[str, Any]], bool]:
    from kit.evaluate.fineweb import shard_availability

    if plan.smoke is not None:  # made here, not fetched
        return [], True
    found = shard_availability(plan.record, places)
    shards = [_artifact("shard", s.name, s.size, s.sha256, s.present) for s in found.shards]
    return shards, found.pinned


def _data_findings(plan: RunPlan, shards: list[dict[str, Any]], pinned: bool) -> list[dict[str, str]]:
    found = []
    absent = sum(not s["present"] for s in shards)
    if absent:
        fix = f"speedrun data fetch --record {plan.record.number}"
        found.append(_finding("shards", "refusal", f"{absent} of {len(shards)} shards are not here", fix))
    if not pinned:
        found.append(_finding("data", "warning", "unpinned: no lock says which bytes the shards are", ""))
    return found


def _script(plan: RunPlan, places: Places) -> list[dict[str, Any]]:
    from kit.core.store import Artifact

    if plan.smoke is not None or plan.submission is not None:
        return []
    origin = plan.record.script.origin
    present = places.store.has(Artifact(origin.path, origin.size, origin.sha256))
    return [_artifact("script", origin.path, origin.size, origin.sha256, present)]


def _artifact(kind: str, name: str, size: int, sha256: str | None, present: bool) -> dict[str, Any]:
    return {"kind": kind, "name": name, "size": size, "sha256": sha256, "present": present}


def _devices(plan: RunPlan, preflight: Preflight) -> dict[str, Any]:
    from kit.gpu.driver import CONTROL, TOOLS

    gpus = [
        {
            "index": g.index,
            "name": g.name,
            "uuid": g.uuid,
            "memory": g.memory,
            "path": f"/dev/nvidia{g.minor}",
        }
        for g in preflight.gpus
    ]
    return {"control": [f"/dev/{name}" for name in (*CONTROL, *TOOLS)] if plan.gpus else [], "gpus": gpus}


def _mounts(plan: RunPlan) -> dict[str, str]:
    from kit.evaluate.plan import DATA
    from kit.gpu.driver import INSIDE
    from kit.values.run_spec import SUBMISSION, RuntimeName

    found = {str(SUBMISSION): "the submission", str(DATA): "the data"}
    if plan.gpus and plan.runtime.name is RuntimeName.RUNC:
        found[str(INSIDE)] = "the driver's libraries and nvidia-smi, from this machine"
    return found


def format_plan(described: dict[str, Any]) -> str:
    """Return the plan for a person."""
    missing = [a for a in described["artifacts"] if not a["present"]]
    pinned = sum(a["sha256"] is not None for a in described["artifacts"])
    lines = [
        f"record {described['record']}, profile {described['profile']}: "
        f"runtime {described['runtime']}, image {described['image']}",
        f"  command    {' '.join(described['argv'])}",
        f"  processes  {described['world_size']} ranks, {described['gpus']} GPUs",
        *_spelled_devices(described),
        f"  target     val_loss <= {described['target_val_loss']:g} on {described['val_tokens']:,} tokens",
        "  mounts     read-only",
        *(f"    {path}  {what}" for path, what in described["mounts"].items()),
        "  limits",
        *(f"    {name:<11} {_spelled(name, value)}" for name, value in described["limits"].items()),
        "  deadlines",
        *(f"    {name.removesuffix('_s'):<11} {value:g} s" for name, value in described["deadlines"].items()),
        f"  artifacts  {len(described['artifacts'])}, {pinned} of them pinned by sha256; "
        f"{len(missing)} to download, {megabytes(described['download_bytes'])}",
        *(
            f"    {megabytes(a['size']):>9}  {a['kind']:<6}  {a['name']}"
            for a in sorted(missing, key=_by_kind)
        ),
        f"  store      {described['store']}",
        f"  result     {described['out']}/<run_id>/result.json",
        *_findings(described["findings"]),
    ]
    return printable("\n".join(lines))


def _spelled_devices(described: dict[str, Any]) -> list[str]:
    if not described["gpus"]:
        return []
    devices = described["devices"]
    gpus = [f"    {d['path']}  {d['name']}, {megabytes(d['memory'])}, {d['uuid']}" for d in devices["gpus"]]
    none = ["    one /dev/nvidia<n> for each GPU"]
    return ["  devices", f"    {', '.join(devices['control'])}", *(gpus or none)]


def _by_kind(artifact: dict[str, Any]) -> tuple[str, int, str]:
    return artifact["kind"], -artifact["size"], artifact["name"]


def _findings(findings: list[dict[str, str]]) -> list[str]:
    lines = ["  findings"] if findings else []
    for found in findings:
        lines.append(f"    {MARKS[found['level']]}  {found['id']}: {found['detail']}")
        if found["fix"]:
            lines.append(f"             try: {found['fix']}")
    refused = sum(found["level"] == "refusal" for found in findings)
    if refused:
        lines.append(f"  this run would be refused here, for {refused} of these findings")
    return lines


def _spelled(name: str, value: int) -> str:
    return f"{value}" if name in ("pids", "open_files") else megabytes(value)
