"""Remove one compile cache from the store, unless a process uses the store."""

from __future__ import annotations

from kit.core.errors import RunError
from kit.core.store import Store
from kit.core.store_use import cleaning
from kit.diagnose.cache.image_removal import describe_uses
from kit.diagnose.cache.inventory import CacheEntry, CacheKind
from kit.diagnose.cache.removal import delete
from kit.evaluate.compile_cache import SealedCache, select_cache


def remove_compile_cache(store: Store, prefix: str) -> SealedCache:
    """
    Remove the cache whose digest begins with `prefix`, and return what it was.

    Raises `PrerequisiteError` unless there is exactly one, `RunError` if a process uses the store.
    """
    select_cache(store, prefix)  # before the store is written
    with cleaning(store) as uses:
        cache = select_cache(store, prefix)
        if uses:
            raise RunError(
                f"the store is in use by {describe_uses(uses)}; nothing was removed",
                "wait until it has ended, or stop it",
            )
        delete([CacheEntry(CacheKind.COMPILED, cache.folder.name, (cache.folder,), 0.0)])
    return cache
