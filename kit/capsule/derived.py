"""Derive files of a capsule from its verified bundle: pack writes them, unpack compares them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.benchmark import records
from kit.capsule import bag, version1
from kit.capsule.guide import OPEN_FILES, guide
from kit.capsule.statement import Packer
from kit.core.errors import DigestMismatch
from kit.evaluate.launch import DATA
from kit.image.oci import Descriptor, docker_manifest, layout_documents
from kit.result.predicate import Predicate
from kit.result.statement import SUBMISSION
from kit.sandbox.runtime import oci
from kit.values.run_spec import Mount, RunSpec

CONFIG = f"{bag.RUNC}/config.json"


@dataclass(frozen=True, slots=True)
class CapsuleFacts:
    """The input of the derived files; the bundle binds all of it."""

    predicate: Predicate
    key_id: str
    spec: RunSpec
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    """Lowest first."""
    with_data: bool


def capsule_spec(p: Predicate, where: Path) -> RunSpec:
    """
    Return the run's RunSpec with paths relative to a directory next to the unpacked capsule.

    `where` is a directory with the record's file, which must match the bundle.
    """
    record = records.load(where, p.task.id)
    if record.manifest_sha256 != p.inputs.record_manifest.sha256:
        raise DigestMismatch(
            f"digest mismatch: {p.inputs.record_manifest.name} differs from the version of the run"
        )
    capsule = Path("..") / bag.TOP
    return RunSpec(
        run_id=p.run.id,
        image=None,
        submission=capsule / bag.RUN / SUBMISSION,
        argv=p.run.argv,
        env=p.run.env,
        folders=("data", *record.script.folders),
        mounts=(Mount(capsule / bag.SHARDS, PurePosixPath(DATA)),),
        limits=p.run.limits,
        deadlines=p.run.deadlines,
        untimed_steps=p.run.untimed_steps,
        world_size=p.run.world_size,
    )


def run_md(
    facts: CapsuleFacts, packer: Packer | None, wheels: Iterable[str], unpacked: bool = False
) -> bytes:
    """Return RUN.md; see `kit.capsule.guide.guide`."""
    layers = tuple(layer.digest for layer in facts.layers)
    named = tuple(sorted(wheels))
    return guide(facts.predicate, facts.key_id, facts.spec, layers, facts.with_data, packer, named, unpacked)


def payload_files(facts: CapsuleFacts) -> dict[str, bytes]:
    """Return the derived files of the payload by path: the container's configuration, the image's indices."""
    era = facts.predicate.environment.era
    box = oci.ContainerSettings(rootfs=Path("rootfs"), open_files=OPEN_FILES)
    layout = layout_documents(era, facts.manifest.digest, facts.manifest.size)
    return {
        CONFIG: oci.config(facts.spec, box),
        f"{bag.IMAGE}/manifest.json": docker_manifest(era, facts.config, facts.layers),
        **{f"{bag.IMAGE}/{name}": data for name, data in layout.items()},
    }


def run_md_of_version_1(facts: CapsuleFacts) -> bytes:
    """Return the RUN.md that version 0.1 packed."""
    layers = tuple(layer.digest for layer in facts.layers)
    return version1.guide(facts.predicate, facts.key_id, facts.spec, layers, facts.with_data)
