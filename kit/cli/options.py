"""Options that several commands share, resolved from the user's environment. Opens and makes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import click


def default_store() -> Path:
    """Return `speedrun-kit` in the user's cache folder: `$XDG_CACHE_HOME` or `~/.cache`."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return base / "speedrun-kit"


store_option = click.option(
    "--store",
    "store",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_store,
    show_default="the cache folder of the user, speedrun-kit/",
    help="Folder of the content-addressed store.",
)
"""`--store DIR`, passed as `store: Path`."""

mirror_option = click.option(
    "--mirror",
    "mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Folder of downloaded files (any depth), asked before the network.",
)
"""`--mirror DIR`, passed as `mirror: Path | None`."""


def default_keys() -> Path:
    """Return the user's key folder: `$XDG_CONFIG_HOME` or `~/.config`, then `speedrun-kit/keys`."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(config) if config.startswith("/") else Path.home() / ".config"
    return base / "speedrun-kit" / "keys"


keys_option = click.option(
    "--keys",
    "keys",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_keys,
    show_default="the configuration folder of the user, speedrun-kit/keys",
    help="Folder of the own key and of the trusted public keys (*.pem).",
)
"""`--keys DIR`, passed as `keys: Path`."""
