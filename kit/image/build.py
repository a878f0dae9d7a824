"""Build, verify and look up the image of an era; its digests must match images/<era>/digest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import Sha256, sha256_file
from kit.core.errors import DigestMismatch, KitError, PrerequisiteError, StaleLock
from kit.core.files import place
from kit.core.store import Artifact, Fetcher, FolderFetcher, Progress, Store, no_progress
from kit.core.store_use import using
from kit.core.text import in_shell
from kit.image.acquire import fetch
from kit.image.assemble import ROOM, BuiltImage, assembled
from kit.image.diff import ImageChange, compare_layers
from kit.image.digest import ImageIdentity, digest_path, read_identity, write_identity
from kit.image.lock import read_lock
from kit.image.oci import Descriptor, blob_path, read_manifest, write_layout
from kit.image.recheck import recheck
from kit.image.spec import Component, EraSpec, read_spec


@dataclass(frozen=True, slots=True)
class Layout:
    """An era's image in the store, as an OCI layout that matches images/<era>/digest."""

    era: str
    summary: str
    """From image.toml."""
    path: Path
    config_digest: Sha256
    manifest_digest: Sha256
    diff_ids: tuple[Sha256, ...]
    """Lowest first; layers are uncompressed, so these name blobs too."""
    env: tuple[tuple[str, str], ...]
    fidelity: tuple[Component, ...]
    epoch: int

    def document(self) -> dict[str, object]:
        """Return the fields that `image build --json` prints."""
        return {
            "era": self.era,
            "path": str(self.path),
            "config": self.config_digest,
            "manifest": self.manifest_digest,
            "diff_ids": list(self.diff_ids),
            "fidelity": [
                {"component": f.component, "version": f.version, "level": f.level} for f in self.fidelity
            ],
        }


@dataclass(frozen=True, slots=True)
class EraSurvey:
    """The state of an era on this machine: lock, downloads, image."""

    era: str
    summary: str
    size: int
    """Bytes of the lock's files; 0 if there is no usable lock."""
    present: int
    """Bytes of them that are in the store."""
    built: bool
    state: str
    """`ok`, or the problem of lock.json or digest: `stale`, `missing` or `bad`."""

    def document(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "era": self.era,
            "summary": self.summary,
            "bytes": self.size,
            "bytes_present": self.present,
            "built": self.built,
            "lock": self.state,
        }


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """The image that was built from an era's lock, and the expected one."""

    promised: ImageIdentity
    built: ImageIdentity
    entries: tuple[ImageChange, ...]
    """Of the layers that differ, if the store has the expected ones to compare with."""

    @property
    def differences(self) -> tuple[str, ...]:
        """A sentence for each digest that differs; empty if the image matches."""
        return self.promised.differences(self.built)


def ensure_layout(
    era: str, images: Path, store: Store, fetchers: Sequence[Fetcher], progress: Progress = no_progress
) -> Layout:
    """
    Return the era's image; download and assemble what is missing from the store.

    A layout in the store is checked by name and size; its bytes were hashed when it was built.
    Raises `StaleLock`, `DigestMismatch` if the digest of a file or of the image differs,
    `UsageError` for an unknown era, `PrerequisiteError` for a file that no source has, `NetworkError`, and
    `RunError` if the disk is full. In each case the store keeps what it had.
    """
    spec = read_spec(images, era)
    lock = read_lock(spec)
    identity = read_identity(spec, lock)
    layout = _find_layout(spec, identity, store)
    if layout is not None:
        return layout
    with using(store), store.lock(f"layout-{identity.manifest}"):
        layout = _find_layout(spec, identity, store)
        if layout is not None:
            return layout
        fetch(lock, store, fetchers, progress)
        with assembled(spec, lock, store, store, progress) as built:
            _refuse_mismatch(spec, identity, built.identity)
            return _adopt(spec, built, store)


def adopt(era: str, images: Path, store: Store, folder: Path, progress: Progress = no_progress) -> Layout:
    """
    Copy the era's image from an untrusted OCI layout in `folder` into the store, and return it.

    Every byte is checked against images/<era>/digest. Raises `DigestMismatch` if it is another image, and
    otherwise as `ensure_layout` does; nothing is downloaded.
    """
    spec = read_spec(images, era)
    identity = read_identity(spec, read_lock(spec))
    with using(store), store.lock(f"layout-{identity.manifest}"):
        layout = _find_layout(spec, identity, store)
        if layout is not None:
            return layout
        try:
            config, layers = read_manifest(folder, identity.manifest)
        except FileNotFoundError as e:
            raise DigestMismatch(
                f"{folder} does not contain image {identity.manifest[:12]}… of era {era}"
            ) from e
        if (config.digest, tuple(x.digest for x in layers)) != (identity.config, identity.diff_ids):
            raise DigestMismatch(
                f"digest mismatch: the manifest in {folder} lists other layers than {digest_path(spec)}"
            )
        size = blob_path(folder, identity.manifest).stat().st_size
        sources = (FolderFetcher(folder / "blobs" / "sha256"),)
        for blob in (*layers, config, Descriptor(identity.manifest, size)):
            store.ensure(Artifact(blob.digest, blob.size, blob.digest), sources, progress)
        return _lay_out(spec, identity, store)


def accept(
    era: str, images: Path, store: Store, fetchers: Sequence[Fetcher], progress: Progress = no_progress
) -> Layout:
    """Build an era from its lock and write its digests to images/<era>/digest."""
    spec = read_spec(images, era)
    lock = read_lock(spec)
    with using(store):
        fetch(lock, store, fetchers, progress)
        with assembled(spec, lock, store, store, progress) as built:
            with store.lock(f"layout-{built.identity.manifest}"):
                layout = _adopt(spec, built, store)
            write_identity(spec, lock, built.identity)
            return layout


def verify(
    era: str, images: Path, store: Store, fetchers: Sequence[Fetcher], progress: Progress = no_progress
) -> VerifiedImage:
    """
    Build an era again in an empty directory, and compare it with images/<era>/digest.

    Earlier builds are read only to explain a difference; artifacts in the store are hashed again before
    use. Raises as `ensure_layout` does, but returns an image whose digests differ.
    """
    spec = read_spec(images, era)
    lock = read_lock(spec)
    promised = read_identity(spec, lock)
    with using(store):
        fetch(lock, store, fetchers, progress)
        recheck(lock, store, progress)
        with assembled(spec, lock, store, store, progress) as built:
            return VerifiedImage(promised, built.identity, _explain_differences(promised, built, store))


def _explain_differences(promised: ImageIdentity, built: BuiltImage, store: Store) -> tuple[ImageChange, ...]:
    """Compare the layers that differ with the expected ones, if the store has those."""
    changes: list[ImageChange] = []
    for (title, digest), layer in zip(promised.layers, built.layers, strict=False):
        blob = store.blob(digest)
        if layer.digest != digest and blob.exists() and sha256_file(blob) == digest:
            changes += compare_layers(title, blob, layer.path)
    return tuple(changes)


def layout_path(store: Store, manifest: Sha256) -> Path:
    """Return the directory of the image with this manifest digest, which need not exist."""
    return store.root / ROOM / manifest


def survey(era: str, images: Path, store: Store) -> EraSurvey:
    """Return the state of an era in `store` without changing it. Raises only for a broken image.toml."""
    spec = read_spec(images, era)
    try:
        lock = read_lock(spec)
    except KitError as e:
        return EraSurvey(era, spec.summary, 0, 0, False, _state(e))
    present = sum(a.size for a in lock.artifacts if store.has(a))
    try:
        built, state = _find_layout(spec, read_identity(spec, lock), store) is not None, "ok"
    except KitError as e:
        built, state = False, _state(e)
    return EraSurvey(era, spec.summary, lock.size, present, built, state)


def _state(e: KitError) -> str:
    return "stale" if isinstance(e, StaleLock) else "missing" if isinstance(e, PrerequisiteError) else "bad"


def _refuse_mismatch(spec: EraSpec, promised: ImageIdentity, built: ImageIdentity) -> None:
    differences = promised.differences(built)
    if differences:
        raise DigestMismatch(
            f"digest mismatch: the image of era {spec.era} differs from {digest_path(spec)}:",
            f"if you changed the era on purpose: speedrun image build {spec.era} --accept",
            differences,
        )


def _adopt(spec: EraSpec, built: BuiltImage, store: Store) -> Layout:
    """Move layers and documents into the store and link a layout to them; the caller holds the lock."""
    for layer in built.layers:
        if not store.has(Artifact(layer.title, layer.size, layer.digest)):
            place(layer.path, store.blob(layer.digest))
    for document in (built.documents.config, built.documents.manifest):
        store.put(document)
    return _lay_out(spec, built.identity, store)


def _lay_out(spec: EraSpec, identity: ImageIdentity, store: Store) -> Layout:
    """Make a layout of hard links to blobs in the store; the caller holds the lock."""
    with store.staging(ROOM) as folder:
        write_layout(folder, spec.era, identity.manifest, store.blob(identity.manifest).stat().st_size)
        final = store.room(ROOM) / identity.manifest
        for digest in {identity.config, identity.manifest, *identity.diff_ids}:
            _link(store.blob(digest), blob_path(folder, digest), blob_path(final, digest))
        if _find_layout(spec, identity, store) is None:
            shutil.rmtree(final, ignore_errors=True)  # a blob of it is missing
            folder.rename(final)
    layout = _find_layout(spec, identity, store)
    if layout is None:
        blob = store.blob(identity.manifest)  # the other blobs were just written, or have the right size
        raise DigestMismatch(
            f"checksum mismatch: {blob} was changed", f"rm {in_shell(blob)}, then run the command again"
        )
    return layout


def _link(blob: Path, name: Path, final: Path) -> None:
    """Link a blob as `name`, which will be renamed to `final`."""
    try:
        name.hardlink_to(blob)
    except OSError:  # a file system without hard links
        name.symlink_to(os.path.relpath(blob, final.parent))


def _find_layout(spec: EraSpec, identity: ImageIdentity, store: Store) -> Layout | None:
    """Return the layout if the store has every blob with the right name and size."""
    path = layout_path(store, identity.manifest)
    try:
        config, layers = read_manifest(path, identity.manifest)
        whole = all(blob_path(path, b.digest).stat().st_size == b.size for b in (config, *layers))
    except (FileNotFoundError, KitError):
        return None
    if (
        not whole
        or tuple(layer.digest for layer in layers) != identity.diff_ids
        or config.digest != identity.config
    ):
        return None
    return Layout(
        spec.era,
        spec.summary,
        path,
        identity.config,
        identity.manifest,
        identity.diff_ids,
        spec.env,
        spec.fidelity,
        spec.epoch,
    )
