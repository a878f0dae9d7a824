"""`eval --plan` in words and as JSON: what would be fetched, mounted and limited. Fetches nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kit.cli.terminal import megabytes

if TYPE_CHECKING:
    from kit.evaluate.plan import Plan
    from kit.evaluate.request import Places


def describe(plan: Plan, places: Places) -> dict[str, Any]:
    """Return the plan as one JSON object; sizes are bytes, times seconds."""
    from kit.evaluate.plan import DATA, search_path
    from kit.run.spec import SUBMISSION, WORKSPACE

    artifacts = _artifacts(plan, places)
    return {
        "record": plan.record.number,
        "profile": plan.profile,
        "runtime": plan.runtime.name,
        "image": plan.era,
        "argv": list(plan.launcher()),
        "env": {"PATH": search_path(plan.era, plan.python), **dict(plan.env)},
        "world_size": plan.world_size,
        "gpus": plan.gpus,
        "mounts": {str(SUBMISSION): "the submission, read-only", str(DATA): "the data, read-only"},
        "workspace": {"path": str(WORKSPACE), "folders": list(plan.folders)},
        "limits": asdict(plan.limits),
        "deadlines": asdict(plan.deadlines),
        "untimed_steps": plan.untimed_steps,
        "target_val_loss": plan.target_val_loss,
        "val_tokens": plan.val_tokens,
        "artifacts": artifacts,
        "download_bytes": sum(a["size"] for a in artifacts if not a["present"]),
        "out": str(places.out),
        "store": str(places.store.root),
    }


def _artifacts(plan: Plan, places: Places) -> list[dict[str, Any]]:
    from kit.evaluate.request import HOST_IMAGE
    from kit.image.lock import read_lock
    from kit.image.spec import read_spec

    if plan.era == HOST_IMAGE:
        return []
    lock = read_lock(read_spec(places.images, plan.era))
    artifacts = (*lock.debs, *lock.wheels)
    return [
        {"name": a.name, "size": a.size, "sha256": a.sha256, "present": places.store.has(a)}
        for a in artifacts
    ]


def spell(described: dict[str, Any]) -> str:
    """Return the plan for a person."""
    missing = [a for a in described["artifacts"] if not a["present"]]
    lines = [
        f"record {described['record']}, profile {described['profile']}: "
        f"runtime {described['runtime']}, image {described['image']}",
        f"  command    {' '.join(described['argv'])}",
        f"  processes  {described['world_size']} ranks, {described['gpus']} GPUs",
        f"  target     val_loss <= {described['target_val_loss']:g} on {described['val_tokens']:,} tokens",
        "  mounts     read-only",
        *(f"    {path}  {what}" for path, what in described["mounts"].items()),
        "  limits",
        *(f"    {name:<11} {_spelled(name, value)}" for name, value in described["limits"].items()),
        "  deadlines",
        *(f"    {name.removesuffix('_s'):<11} {value:g} s" for name, value in described["deadlines"].items()),
        f"  artifacts  {len(described['artifacts'])} pinned by sha256, {len(missing)} to download, "
        f"{megabytes(described['download_bytes'])}",
        *(f"    {megabytes(a['size']):>9}  {a['name']}" for a in sorted(missing, key=lambda a: -a["size"])),
        f"  store      {described['store']}",
        f"  result     {described['out']}/<run_id>/result.json",
    ]
    return "\n".join(lines)


def _spelled(name: str, value: int) -> str:
    return f"{value}" if name in ("pids", "open_files") else megabytes(value)
