"""Show entries of the store, and tell which blobs are upstream files of the records."""

from __future__ import annotations

import datetime
from typing import Any

from kit.benchmark.records import load_all
from kit.core.facts import facts_root
from kit.core.store_use import StoreUse
from kit.diagnose.cache.inventory import CacheEntry


def upstream_files() -> frozenset[str]:
    """Return the digests of the upstream files that scripts of records come from."""
    records = load_all(facts_root() / "records")
    return frozenset(origin.sha256 for record in records for origin in record.script.origins)


def format_day(moment: float | None) -> str:
    """Return a Unix time as a day (UTC)."""
    if not moment:
        return "-"
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d")


def format_time(moment: float) -> str:
    """Return a Unix time as ISO 8601 (UTC), for JSON."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def entry_document(entry: CacheEntry) -> dict[str, Any]:
    """Return an entry as JSON."""
    return {
        "kind": entry.kind.value,
        "name": entry.name,
        "paths": [str(path) for path in entry.paths],
        "last_used": format_time(entry.last_used),
        "in_use": entry.in_use,
    }


def use_document(use: StoreUse) -> dict[str, Any]:
    """Return a process that uses the store as JSON."""
    return {
        "pid": use.process.pid if use.process else None,
        "images": None if use.images is None else sorted(use.images),
    }
