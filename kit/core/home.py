"""Find the user's home directory. A user id of a container or a service may have none."""

from __future__ import annotations

import os
from pathlib import Path

from kit.core.errors import PrerequisiteError
from kit.core.system import user_id


def home_directory() -> Path | None:
    """Return `$HOME`, else the directory that the system lists for this user, else None."""
    named = os.environ.get("HOME", "")
    if named:
        return Path(named)
    try:
        listed = _listed()
    except KeyError:
        return None
    return Path(listed) if listed else None


def _listed() -> str:
    """Return the home directory that the system lists. Raises `KeyError` for an unknown user."""
    try:
        import pwd
    except ImportError:  # Windows
        return os.environ.get("USERPROFILE", "")
    return pwd.getpwuid(os.getuid()).pw_dir


def base_directory(variable: str, below_home: str, option: str) -> Path:
    """
    Return the absolute directory that `variable` names, else `below_home` in the user's home directory.

    Raises `PrerequisiteError` without a home directory; its hint names `option`.
    """
    named = os.environ.get(variable, "")
    if named.startswith("/"):
        return Path(named)
    home = home_directory()
    if home is None:
        raise no_home_directory(option)
    return home / below_home


def no_home_directory(option: str) -> PrerequisiteError:
    """Return the error about a user without a home directory; its hint names `option`."""
    return PrerequisiteError(
        f"no home directory: HOME is not set, and user id {user_id()} has no passwd entry",
        f"set HOME to a directory that this user can write, or pass {option} DIR",
    )


def default_store() -> Path:
    """Return the default store: `speedrun-kit` in `$XDG_CACHE_HOME` or `~/.cache`; see `base_directory`."""
    return base_directory("XDG_CACHE_HOME", ".cache", "--store") / "speedrun-kit"


def default_keys() -> Path:
    """Return the default key directory: `speedrun-kit/keys` in `$XDG_CONFIG_HOME` or `~/.config`."""
    return base_directory("XDG_CONFIG_HOME", ".config", "--keys") / "speedrun-kit" / "keys"
