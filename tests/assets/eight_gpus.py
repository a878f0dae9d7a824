"""
Write the golden OCI configurations of tests/assets/run: `python tests/assets/eight_gpus.py`.

Record 3 on eight GPUs, as a machine with FAKE GPUs and a FAKE driver would start it. After a change that is
meant, run it and read the difference.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fake_gpus import fake_files, fake_inventory, fake_sources

from kit.core.digest import Sha256
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.gpus import look
from kit.evaluate.launch import DATA
from kit.evaluate.plan import draft
from kit.evaluate.prepare import environment
from kit.evaluate.request import Places, Request
from kit.sandbox.runtime import oci
from kit.values.profile import Profile
from kit.values.run_spec import GIB, GpuDevice, ImageRef, Limits, Mount, RunSpec, RuntimeName
from kit.values.software import Kit

GOLDEN = Path(__file__).resolve().parent / "run"
IMAGE_ENV = (("HOME", "/workspace"), ("PATH", "/usr/local/bin:/usr/bin:/usr/sbin"))
NODE = Limits(memory=1800 * GIB)
"""Of a machine with 2 TiB of memory."""


def eight_gpus() -> RunSpec:
    """Record 3 on eight GPUs, from the record's own facts."""
    nowhere = Path("/nowhere")
    places = Places(
        records=facts_root() / "records",
        images=facts_root() / "images",
        store=Store(nowhere),
        out=nowhere,
        keys=nowhere,
        fetchers=(),
        kit=Kit("0", None),
        gpus=fake_sources(fake_inventory()),
    )
    plan = draft(Request(record=3, profile=Profile.FULL, runtime=RuntimeName.RUNC), places)
    ready = look(plan, places)
    ready.require()
    return RunSpec(
        run_id="r03-20261123T170000Z-00000000",
        image=ImageRef(plan.era, Sha256("a" * 64), Sha256("b" * 64), Path("/store/rootfs")),
        submission=Path("/runs/r03/submission"),
        argv=plan.launcher(),
        env=environment(plan, IMAGE_ENV, ready),
        folders=plan.folders,
        mounts=(Mount(Path("/store/data/shards"), PurePosixPath(DATA)),),
        limits=replace(plan.terms.limits, memory=NODE.memory),
        deadlines=plan.deadlines,
        untimed_steps=plan.terms.untimed_steps,
        gpus=plan.terms.gpus,
        gpu_devices=tuple(GpuDevice(gpu.uuid, gpu.minor) for gpu in ready.gpus),
        world_size=plan.terms.world_size,
    )


def boxes(spec: RunSpec) -> dict[str, oci.ContainerSettings]:
    """The same machine for root and for an ordinary user."""
    files = fake_files(tuple(gpu.minor for gpu in spec.gpu_devices))
    rootfs = Path("/store/rootfs")
    return {
        "eight-gpus.oci.json": oci.ContainerSettings(
            rootfs, cgroup=f"/speedrun-kit/{spec.run_id}", driver=files
        ),
        "eight-gpus-rootless.oci.json": oci.ContainerSettings(
            rootfs, rootless_ids=(1000, 1000), open_files=1 << 19, locked_memory=8 << 20, driver=files
        ),
    }


def documents() -> dict[str, str]:
    """Return file name -> content, laid out for people to compare."""
    spec = eight_gpus()
    return {
        name: json.dumps(json.loads(oci.config(spec, box)), indent=1, sort_keys=True) + "\n"
        for name, box in boxes(spec).items()
    }


if __name__ == "__main__":
    for name, text in documents().items():
        (GOLDEN / name).write_text(text)
