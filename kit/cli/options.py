"""Options that several commands share, resolved from the user's environment and settings. Makes nothing."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    pass


class Number(click.FloatRange):
    """A finite number in a range; `nan` is in none, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.FloatRange.convert`."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a number.", param, ctx)


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


upstream_option = click.option(
    "--mirror",
    "mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Local git directory of upstream, asked instead of the network.",
)
"""`--mirror DIR`, of upstream's repository; passed as `mirror: Path | None`."""


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
