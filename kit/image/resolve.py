"""Resolve an EraSpec to a lock with pip, uv and apt."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import re
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kit.core.digest import Sha256, is_sha256
from kit.core.download import content_length, repeated
from kit.core.errors import NetworkError, PrerequisiteError
from kit.core.store import Fetcher, Progress, Store
from kit.image import index
from kit.image.apt import PrivateApt, mirror_of
from kit.image.lock import Deb, Lock, Wheel, parse_lock, render_lock
from kit.image.pip_settings import pip_access
from kit.image.spec import EraSpec


def resolve(spec: EraSpec, store: Store, fetchers: Sequence[Fetcher], progress: Progress) -> Lock:
    """
    Resolve `spec` to a lock as of today, without writing it.

    The debs are downloaded into the store: no index has their sha1, so they must be hashed.

    Raises `PrerequisiteError` if a tool or a wheel is missing, `NetworkError` if a source does not answer.
    """
    with repeated(progress, f"resolve the wheels of {spec.era}"):
        wheels = tuple(_wheel(offer, spec) for offer in _offers(spec))
    with (
        repeated(progress, f"resolve the debs of {spec.era}"),
        PrivateApt(spec.suite, mirror_of(spec.suite)) as apt,
    ):
        offers = apt.closure(spec.packages)
    debs, label, done, total = [], f"fetch the debs of {spec.era}", 0, sum(o.size for o in offers)
    for offer in offers:
        progress(label, done, total)
        debs.append(_deb(offer.package, offer.version, offer.pool, offer.size, offer.sha256, store, fetchers))
        done += offer.size
    progress(label, done, total)
    data = render_lock(spec, tuple(debs), wheels)
    return parse_lock(data, f"the new lock of {spec.era}")


def _offers(spec: EraSpec) -> tuple[index.IndexWheel, ...]:
    if spec.exclude_newer is not None:
        pins = index.pins_before(spec.requirements, spec.python, spec.exclude_newer)
        return index.offers(pins, spec.python, closure=False)
    here = (platform.system(), platform.machine(), ".".join(platform.python_version_tuple()[:2]))
    if here != ("Linux", "x86_64", spec.python):
        raise PrerequisiteError(
            f"cannot resolve era {spec.era}: pip must run in Python {spec.python} on x86-64 Linux,"
            f" but this is Python {here[2]} on {here[0]} {here[1]}",
            f"run this command with python{spec.python} on x86-64 Linux",
        )
    try:
        return index.offers(spec.requirements, spec.python, closure=True)
    except PrerequisiteError:
        if not spec.urls:
            raise
        urls = dict(spec.urls)
        direct = tuple(
            f"{name} @ {urls[name]}" if (name := canonicalize_name(Requirement(r).name)) in urls else r
            for r in spec.requirements
        )
        return index.offers(direct, spec.python, closure=True)


def _wheel(offer: index.IndexWheel, spec: EraSpec) -> Wheel:
    if not is_sha256(offer.sha256):
        raise PrerequisiteError(
            f"the Python index has no sha256 for {offer.file}",
            "configure pip for an index that publishes sha256 digests",
        )
    sha256 = Sha256(offer.sha256)
    return Wheel(
        offer.file, _size(offer.url), sha256, offer.project, offer.version, dict(spec.urls).get(offer.project)
    )


def _size(url: str) -> int:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(urllib.request.url2pathname(parts.path)).stat().st_size
    size = content_length(url, parts.path, pip_access())
    if size is None or not re.fullmatch(r"[0-9]{1,15}", size):
        raise NetworkError(
            f"cannot get the size of {parts.path}: {parts.hostname} sent no valid Content-Length",
            "configure pip for another index",
        )
    return int(size)


def _deb(
    package: str, version: str, pool: str, size: int, sha256: str, store: Store, fetchers: Sequence[Fetcher]
) -> Deb:
    unhashed = Deb(pool.rsplit("/", 1)[-1], size, Sha256(sha256), package, version, "0" * 40, pool)
    path = store.ensure(unhashed, fetchers)
    with path.open("rb") as f:
        sha1 = hashlib.file_digest(f, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
    return dataclasses.replace(unhashed, sha1=sha1)
