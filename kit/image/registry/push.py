"""
Push an image to a registry byte for byte, so that the registry serves the signed manifest digest.

The tag names an index with annotations, which lists the unchanged manifest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import quote, urlencode

from kit.core.digest import CHUNK, Sha256, sha256_bytes
from kit.core.download import Repeater, advice, repeated, retry
from kit.core.errors import DigestMismatch, NetworkError, PrerequisiteError
from kit.core.store import Progress, no_progress
from kit.core.transfer import BrokenTransfer
from kit.image.annotations import ImageSource, registry_index
from kit.image.build import Layout
from kit.image.oci import INDEX_TYPE, MANIFEST_TYPE, Descriptor, blob_path, read_document, read_manifest
from kit.image.registry.client import (
    COMMIT_TIMEOUT_S,
    REDIRECTS,
    RegistryClient,
    RegistryResponse,
    RequestBody,
)
from kit.image.registry.login import RegistryLogin
from kit.image.registry.reference import RegistryReference

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
T = TypeVar("T")
OTHER_REGISTRY = "this registry changes images: push to another one, or share `speedrun image export` files"


@dataclass(frozen=True, slots=True)
class PushedImage:
    """An image in a registry, read back."""

    reference: RegistryReference
    digest: Sha256
    """Of the manifest that the registry serves; equal to the signed one."""
    index: Sha256
    """Of the index that the tag names; nothing is signed with it."""
    sent: int
    """Bytes of blobs that were sent."""
    present: int
    """Number of blobs that the repository had."""
    mounted: int
    """Number of blobs that it took from another repository of the registry."""

    @property
    def pinned(self) -> str:
        """The reference by digest."""
        return f"{self.reference.registry}/{self.reference.repository}@sha256:{self.digest}"


@dataclass(frozen=True, slots=True)
class RegistryDocument:
    """A manifest or an index, as it is sent."""

    media_type: str
    data: bytes

    @property
    def kind(self) -> str:
        """Its name in messages."""
        return "index" if self.media_type == INDEX_TYPE else "manifest"

    @property
    def digest(self) -> Sha256:
        """Digest of its bytes."""
        return sha256_bytes(self.data)

    @property
    def reference(self) -> str:
        """Its name by digest."""
        return f"sha256:{self.digest}"


def push(
    layout: Layout,
    reference: RegistryReference,
    login: RegistryLogin | None = None,
    *,
    source: ImageSource,
    insecure: bool = False,
    mount_from: str | None = None,
    progress: Progress = no_progress,
) -> PushedImage:
    """
    Send the blobs that the repository lacks, the manifest and its index, then read both back.

    A broken request is repeated; an upload resumes where the registry kept its bytes. Raises
    `PrerequisiteError` if the login is missing or refused or there is no such repository, `DigestMismatch` if
    the registry received or returns other bytes, `NetworkError` if the transfer failed.
    """
    config, layers = read_manifest(layout.path, layout.manifest_digest)
    client = RegistryClient(reference, login, insecure=insecure, also_pull=mount_from)
    label = f"push {layout.era}"
    with repeated(progress, label) as report:
        session = _PushRequests(layout, reference, client, report)
        blobs = list(dict.fromkeys((*layers, config)))
        missing = [blob for blob in blobs if not session.tried(partial(session.has, blob))]
        sent = mounted = 0
        total = sum(blob.size for blob in missing)
        for blob in missing:
            upload = _Upload(session, blob, mount_from, label, sent, total)
            session.tried(upload.attempt, upload.advanced)
            if upload.mounted:
                mounted += 1
                total -= blob.size
            else:
                sent += blob.size
        manifest = RegistryDocument(MANIFEST_TYPE, read_document(layout.path, layout.manifest_digest))
        described = Descriptor(layout.manifest_digest, len(manifest.data))
        index = RegistryDocument(INDEX_TYPE, registry_index(layout, described, source))
        for document, name in ((manifest, manifest.reference), (index, reference.tag)):
            session.tried(partial(session.put, document, name))
            for stored in dict.fromkeys((name, document.reference)):
                session.tried(partial(session.compare, document, stored))
    return PushedImage(
        reference, layout.manifest_digest, index.digest, sent, len(blobs) - len(missing), mounted
    )


class _PushRequests:
    """The requests of one push that are small."""

    def __init__(
        self, layout: Layout, reference: RegistryReference, client: RegistryClient, report: Repeater
    ) -> None:
        self.layout, self.client, self.report = layout, client, report
        self._reference = reference

    def tried(self, attempt: Callable[[], T], advanced: Callable[[], bool] = lambda: False) -> T:
        """Call `attempt` until it succeeds, within the bounds of `kit.core.download.retry`."""
        try:
            return retry(attempt, self.report, advanced)
        except BrokenTransfer as e:
            raise NetworkError(
                f"cannot push to {self._reference.registry}: {e}", advice(e, self._hint())
            ) from e

    def has(self, blob: Descriptor) -> bool:
        """Tell whether the repository has a blob."""
        response = self.client.send("HEAD", self.client.url(f"blobs/sha256:{blob.digest}"))
        if response.status not in (200, 404, *REDIRECTS):
            raise self.client.failure("looking up a layer", response)
        return response.status != 404  # only a layer that is there is redirected to where it is stored

    def put(self, document: RegistryDocument, name: str) -> None:
        """Store a document under a tag or its digest."""
        body = RequestBody(len(document.data), lambda: iter((document.data,)), document.media_type)
        response = self.client.send("PUT", self._address(name), body)
        if response.status not in (200, 201, 202):
            raise self.client.failure(f"storing the {document.kind}", response)

    def compare(self, document: RegistryDocument, name: str) -> None:
        """Read a document back by tag or digest. Raises `DigestMismatch` if its bytes differ."""
        accept = (("Accept", document.media_type),)
        response = self.client.send("GET", self._address(name), headers=accept)
        if response.status != 200:
            raise self.client.failure(f"reading {document.kind} {name} back", response)
        returned = sha256_bytes(response.body)
        if returned != document.digest:
            raise DigestMismatch(
                f"digest mismatch: {self._reference.registry} returns {document.kind} sha256:{returned}"
                f" for {name}, expected {document.reference}",
                OTHER_REGISTRY,
            )

    def _address(self, name: str) -> str:
        return self.client.url(f"manifests/{quote(name, safe=':')}")

    def _hint(self) -> str:
        if self._reference.is_loopback:
            running = "check that the registry is running"
            if self.client.insecure:
                return f"{running} and uses plain HTTP; then run the command again"
            return f"{running}; if it uses plain HTTP, pass --insecure"
        return "check the network and the size limit of the registry, then run the command again"


class _Upload:
    """One blob's upload, in as many attempts as it needs."""

    def __init__(
        self,
        session: _PushRequests,
        blob: Descriptor,
        mount_from: str | None,
        label: str,
        before: int,
        total: int,
    ) -> None:
        self.mounted = False
        self._session, self._client, self._blob = session, session.client, blob
        self._mount_from, self._label, self._before, self._total = mount_from, label, before, total
        self._path = blob_path(session.layout.path, blob.digest)
        self._location = ""
        self._offset = self._furthest = 0

    def advanced(self) -> bool:
        """Tell whether the registry keeps bytes that it did not keep before the last attempt."""
        before, self._furthest = self._furthest, max(self._furthest, self._offset)
        return self._offset > before

    def attempt(self) -> None:
        """Send the rest of the blob, or raise `BrokenTransfer`."""
        if self._location:
            if self._session.has(self._blob):  # only the last answer was lost
                return
            self._resume()
        if not self._location:
            self._begin()
        if self.mounted:
            return
        if self._offset < self._blob.size:
            self._send_rest()
        self._commit()

    def _begin(self) -> None:
        digest = f"sha256:{self._blob.digest}"
        query = f"?{urlencode({'mount': digest, 'from': self._mount_from})}" if self._mount_from else ""
        response = self._client.send("POST", self._client.url(f"blobs/uploads/{query}"), _EMPTY)
        self.mounted = bool(query) and response.status == 201
        if self.mounted:
            return
        if response.status == 404:
            raise PrerequisiteError(
                f"repository not found in the registry ({response.reason})",
                "create the repository there, or check its name",
            )
        self._offset = 0
        self._continue_at("starting an upload", response)

    def _resume(self) -> None:
        """Learn how many bytes the registry has kept; forget an upload that it has not kept."""
        response = self._client.send("GET", self._location)
        kept = _RANGE.fullmatch(response.headers.get("Range") or "")
        last = int(kept[1]) if kept and response.status == 204 else 0
        if not 0 < last < self._blob.size:  # `0-0` may mean one byte or none
            self._location = ""
            return
        self._offset = last + 1
        self._location = response.location or self._location

    def _send_rest(self) -> None:
        left = self._blob.size - self._offset
        headers = [("Content-Range", f"{self._offset}-{self._blob.size - 1}")] if self._offset else []
        body = RequestBody(left, self._chunks)
        response = self._client.send("PATCH", self._location, body, headers, COMMIT_TIMEOUT_S)
        self._continue_at("sending a layer", response)
        self._offset = self._blob.size

    def _chunks(self) -> Iterator[bytes]:
        done = self._offset
        with self._path.open("rb") as source:
            source.seek(done)
            while done < self._blob.size:
                chunk = source.read(min(CHUNK, self._blob.size - done))
                if not chunk:
                    raise self._changed()
                yield chunk
                done += len(chunk)
                self._session.report(self._label, self._before + done, self._total)

    def _commit(self) -> None:
        mark = "&" if "?" in self._location else "?"
        url = f"{self._location}{mark}{urlencode({'digest': f'sha256:{self._blob.digest}'})}"
        response = self._client.send("PUT", url, _EMPTY, timeout_s=COMMIT_TIMEOUT_S)
        if response.status == 400 and b"DIGEST_INVALID" in response.body:
            raise self._changed()
        if response.status not in (201, 204):
            raise self._client.failure("storing a layer", response)

    def _continue_at(self, what: str, response: RegistryResponse) -> None:
        if response.status not in (202, 204) or not response.location:
            if 400 <= response.status < 500:
                self._location = ""
            hint = "raise the size limit of the registry's proxy" if response.status == 413 else ""
            raise self._client.failure(what, response, hint)
        self._location = response.location

    def _changed(self) -> DigestMismatch:
        layout, digest = self._session.layout, self._blob.digest
        return DigestMismatch(
            f"checksum mismatch: the registry received other bytes than sha256:{digest}",
            f"if sha256sum {self._path} differs, too: find {layout.path.parents[1]} -name {digest} -delete,"
            f" then: speedrun image build {layout.era}",
        )


_EMPTY = RequestBody(0, lambda: iter(()))
