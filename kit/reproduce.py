"""
Repeat a run of someone else: verify it, bring the same image, rerun, compare, sign.

1. The bundle is verified with the files beside it. 2. A result that cannot be compared is refused before
anything starts. 3. The image is built or taken from the capsule, and must have the bundle's digests. 4. The
rerun goes through `kit.evaluate`. 5. Its bundle names the original one; every reader computes whether they
agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kit.benchmark import records
from kit.capsule.content import Capsule
from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, KitError, PrerequisiteError, UsageError
from kit.core.store import Artifact, FolderFetcher
from kit.core.text import in_shell
from kit.evaluate.audits import AuditSelection
from kit.evaluate.plan import RunPlan, draft
from kit.evaluate.prepare import fidelity_of, prepared
from kit.evaluate.request import Overrides, Places, Request
from kit.evaluate.run import Evaluation, Listener, run_prepared
from kit.evaluate.task_data import task_data
from kit.image.acquire import FilesNotFound
from kit.image.build import Layout, adopt, ensure_layout
from kit.image.digest import read_identity
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.result.appraisal.agreement import Comparison, compare, require_cold, tolerance
from kit.result.keys import Trusted
from kit.result.predicate import Predicate, Reproduces
from kit.result.statement import SUBMISSION
from kit.result.verify import VerifiedBundle, open_bundle
from kit.sandbox.engine import SocketFinder
from kit.values.run_spec import RuntimeName

SHOWN = 3
"""How many missing files are named."""


class NotComparable(DigestMismatch):
    """A valid result that this kit cannot repeat, because its image, record or data differ."""


@dataclass(frozen=True, slots=True)
class OriginalRun:
    """A verified run that can be repeated on this machine."""

    bundle: VerifiedBundle
    places: Places
    """Directories and sources of the rerun."""
    own_image: bool
    """Whether the run's image is the one that this kit has for the era."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A rerun and its comparison with the original."""

    outcome: Evaluation
    comparison: Comparison
    same_key: bool
    """Whether the key of the original run signed the rerun, so that it is no independent evidence."""


def from_bundle(path: Path, trusted: Trusted, places: Places) -> OriginalRun:
    """
    Verify a bundle and bring its image; build it from this kit's lock if it is not in the store.

    Raises as `open_bundle` and `ensure_layout`; of packages that no source has, it names three. Raises
    `NotComparable` if image, record or data differ from this kit's, and `UsageError` for a run with a warm
    compile cache.
    """
    bundle = open_bundle(path, trusted)
    require_cold(bundle.predicate)
    _require_same_facts(bundle.predicate, places)
    era = _era(bundle.predicate)
    try:
        layout = ensure_layout(era, places.images, places.store, places.fetchers, places.progress)
    except FilesNotFound as e:
        raise _without_packages(e, path) from e
    _require_image(bundle.predicate, layout)
    return OriginalRun(bundle, places, own_image=True)


def from_capsule(capsule: Capsule, places: Places) -> OriginalRun:
    """
    Bring a capsule's image and data into the store, without a network.

    The packer is not trusted: blobs and shards are compared with the bundle's digests again, and the record
    and the data must be this kit's. The capsule's image.toml is used only if this kit does not have the
    image, and only if it states the bundle's fidelity. Raises `NotComparable` if the fidelity or the image
    differs from the bundle's, or the record or data from this kit's.
    """
    p = capsule.bundle.predicate
    require_cold(p)
    _require_same_facts(p, places)
    same = _is_own_image(p, places)
    images = places.images if same else capsule.images
    layout = adopt(_era(p), images, places.store, capsule.image, places.progress)
    _require_image(p, layout)
    record = records.load(places.records, p.task.id)
    if capsule.shards is not None and not task_data(p.task.profile, record, places).made_here:
        sources = (FolderFetcher(capsule.shards),)
        for f in p.inputs.data.files:
            places.store.ensure(Artifact(f.name, f.size, f.sha256), sources, places.progress)
    if not same and dict(fidelity_of(record, layout)) != dict(p.environment.fidelity):
        raise NotComparable(
            "image.toml in the capsule states a different fidelity than the bundle",
            f"use the kit that ran it: {_version(p)}",
        )
    return OriginalRun(capsule.bundle, replace(places, images=images), same)


def _is_own_image(p: Predicate, places: Places) -> bool:
    """Return whether the run's image is the one that this kit has for the era."""
    image = p.environment.image
    try:
        spec = read_spec(places.images, _era(p))
        own = read_identity(spec, read_lock(spec))
    except KitError:
        return False
    return image is not None and (own.config, own.manifest) == (image.config_digest, image.manifest_digest)


def plan_again(
    original: OriginalRun,
    runtime: RuntimeName | None,
    engine: SocketFinder,
    overrides: Overrides | None = None,
) -> RunPlan:
    """
    Plan the rerun with the original's submission, image and GPUs. Starts nothing.

    The deadlines are the original's, where `overrides` has no other ones.

    If `runtime` is None, the first container runtime that works is used; `engine` finds the socket of
    Docker or Podman. Raises `UsageError` for the host runtime, and as `draft` does.
    """
    p = original.bundle.predicate
    clocks = p.run.deadlines if overrides is None else overrides.applied(p.run.deadlines)
    request = Request(
        record=p.task.id,
        profile=p.task.profile,
        submission=original.bundle.path.parent / SUBMISSION,
        runtime=runtime,
        image=p.environment.era,
        engine=engine,
        gpus=p.run.gpus or None,
        accept_world_size=True,
        overrides=Overrides(
            clocks.start_s, clocks.warmup_s, clocks.stall_s, clocks.teardown_s, clocks.total_s
        ),
    )
    if request.runtime is RuntimeName.HOST:
        raise UsageError(
            "a rerun with --runtime host is no evidence: it provides no isolation", "pass --runtime runc"
        )
    return draft(request, original.places)


def repeat(
    original: OriginalRun, plan: RunPlan, listener: Listener, audits: AuditSelection | None = None
) -> Reproduction:
    """Repeat the run, with the selected audits, and compare. Raises as `prepared` and `run_prepared` do."""
    bundle = original.bundle
    named = Reproduces(bundle.predicate.run.id, bundle.key_id, sha256_file(bundle.path))
    with prepared(plan, original.places) as ready:
        outcome = run_prepared(replace(ready, reproduces=named), original.places, listener, audits)
    second = open_bundle(outcome.bundle, Trusted(()))
    record = records.load(original.places.records, bundle.predicate.task.id)
    allowed = tolerance(bundle.predicate.task.profile, record)
    comparison = compare(bundle.statement, second.statement, allowed)
    return Reproduction(outcome, comparison, second.key_id == bundle.key_id)


def _without_packages(e: FilesNotFound, path: Path) -> PrerequisiteError:
    """Return the error for an image that cannot be built here; a capsule brings it whole."""
    more = len(e.names) - SHOWN
    shown = (*e.names[:SHOWN], *((f"… {more} more",) if more > 0 else ()))
    hint = (
        f"rerun from a capsule: on a machine with a network, speedrun pack {in_shell(path)}; then "
        f"speedrun reproduce FILE --offline; or {e.hint}"
    )
    return PrerequisiteError(e.headline, hint, shown)


def _era(p: Predicate) -> str:
    if p.environment.image is None:
        raise _without_image(p)
    return p.environment.era


def _without_image(p: Predicate) -> UsageError:
    return UsageError(
        f"run {p.run.id} did not run in an image, but on the files of its machine",
        "choose a run that was made without --image host",
    )


def _require_image(p: Predicate, layout: Layout) -> None:
    recorded = p.environment.image
    if recorded is None:
        raise _without_image(p)
    for kind, used, here in (
        ("config", recorded.config_digest, layout.config_digest),
        ("manifest", recorded.manifest_digest, layout.manifest_digest),
    ):
        if used != here:
            raise NotComparable(
                f"image {kind} digest mismatch: the run used {used[:12]}, this kit has {here[:12]}",
                f"use the capsule of the run, or the kit that ran it: {_version(p)}",
            )


def _require_same_facts(p: Predicate, places: Places) -> None:
    for reason in _other_facts(p, places):
        raise NotComparable(reason, f"use the kit that ran it: {_version(p)}")


def _other_facts(p: Predicate, places: Places) -> Iterator[str]:
    record = records.load(places.records, p.task.id)
    if record.manifest_sha256 != p.inputs.record_manifest.sha256:
        yield f"{record.manifest} differs from the version that the run used"
    yield from task_data(p.task.profile, record, places).differences(p.inputs.data.files, places)


def _version(p: Predicate) -> str:
    return f"version {p.run.kit.version}, commit {p.run.kit.commit or 'unknown'}"
