"""Show compile caches, for a person and as JSON."""

from __future__ import annotations

from typing import Any

from kit.cli.terminal import megabytes
from kit.core.codec import encode
from kit.core.text import counted, one_line
from kit.evaluate.compile_cache import CacheManifest, SealedCache


def describe_compile_cache(cache: SealedCache) -> str:
    """Return what a cache is for and how large it is, as one line."""
    manifest = cache.manifest
    files = counted(len(manifest.files), "file")
    where = f"{manifest.era}, {manifest.key.hardware_text}"
    return one_line(
        f"record {manifest.record} ({manifest.profile}), {where}: {files}, {megabytes(cache.size)}"
    )


def compile_cache_document(cache: SealedCache) -> dict[str, Any]:
    """Return a cache as JSON: its manifest with the number of files instead of their list."""
    manifest = encode(CacheManifest, cache.manifest)
    return {
        "sha256": cache.digest,
        "path": str(cache.folder),
        **manifest,
        "files": len(cache.manifest.files),
        "bytes": cache.size,
    }
