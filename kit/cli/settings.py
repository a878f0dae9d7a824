"""
Read defaults of options from `speedrun.toml`: in the working directory, then in the user's directory.

A table is a command and a key is the long name of an option: `[eval]`, `[bundle.verify]`. Keys before the
first table are `SHARED`: they count for every command that has the option. A key of the first file outranks
the same key of the second. Flags and environment variables outrank both.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from kit.cli.lazy import LazyGroup, long_name
from kit.core.errors import UsageError

FILE = "speedrun.toml"
SHARED = ("keys", "store")
"""Options that have one meaning, and one parameter name, in all commands."""
MAX_BYTES = 1 << 20
_USERS_ALONE = {
    "audit-seed": "who knows it knows the audits' streams",
    "base": "it decides which entries are copies",
    "data-lock": "it decides which data count",
    "embeddings": "it decides which server gets a key of yours",
    "endpoint": "it decides which server is asked",
    "insecure": "it sends a login unencrypted",
    "key": "it decides whom you trust",
    "keys": "it decides whom you trust",
    "model": "it decides which server gets a key of yours",
    "python": "it decides what runs outside a container",
    "store": "images, data and canary streams of the store are trusted",
    "yes": "it deletes files without asking",
}
"""A working directory may come from elsewhere, such as an agent's: its file may not set these."""
_ANYBODYS = frozenset((("submit", "send", "model"),))
"""Options that only share a name with one of these."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The defaults of all files, as click takes them, and which file each is from."""

    files: tuple[Path, ...] = ()
    default_map: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], Path] = field(default_factory=dict)
    """By command and parameter name: `("eval", "total_s")`."""


def user_file() -> Path | None:
    """Return the path of the user's file; None for a user without a home directory."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        base = Path(config) if config.startswith("/") else Path.home() / ".config"
    except RuntimeError:
        return None
    return base / "speedrun-kit" / FILE


def setting_files() -> tuple[Path, ...]:
    """Return the files that exist, the first one to be asked first."""
    mine = user_file()
    places = [Path(FILE)] if mine is None else [Path(FILE), mine]
    return tuple(path for path in places if os.path.isfile(path))  # noqa: PTH113  # False without permission


def read_settings(group: LazyGroup) -> Settings:
    """Read the files. Raises `UsageError` that names the file and the nearest key for an unknown one."""
    settings = Settings(setting_files())
    for file in settings.files:
        document = _parse(file)
        shared = {key: value for key, value in document.items() if key in SHARED}
        tables = {key: value for key, value in document.items() if key not in SHARED}
        _read_tables(group, (), tables, file, settings)
        for key, value in shared.items():
            if isinstance(value, dict):
                raise UsageError(f"{file}: {key} is a table, expected a text")
            _refuse_foreign((key,), value, file)
            for path in leaves(group):
                _put(settings, path, key, _expand(str(value)), file)
    return settings


def leaves(group: LazyGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command. Imports groups, but no command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        spec = importlib.util.find_spec(f"{group.package}.{name}")
        below = group.get_command(context, name) if spec and spec.submodule_search_locations else None
        if isinstance(below, LazyGroup):
            yield from leaves(below, (*path, name))
        else:
            yield (*path, name)


def _parse(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as f:
            data = f.read(MAX_BYTES + 1)
    except OSError as e:
        raise UsageError(
            f"cannot read {file}: {e.strerror}", f"make it readable, or remove it: {file}"
        ) from e
    if len(data) > MAX_BYTES:
        raise UsageError(f"{file}: larger than {MAX_BYTES} bytes")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise UsageError(f"{file}: not TOML: {e}", 'for example: [eval], then: runtime = "docker"') from e


def _read_tables(
    group: LazyGroup, path: tuple[str, ...], tables: dict[str, Any], file: Path, settings: Settings
) -> None:
    context = click.Context(group)
    for key, table in tables.items():
        command = group.get_command(context, key)
        if command is None:
            names = group.list_commands(context)
            raise _unknown(file, path, key, [*names, *(SHARED if not path else ())])
        if not isinstance(table, dict):
            raise UsageError(
                f"{file}: {key} is a command, and has no value", f"write a table: [{'.'.join((*path, key))}]"
            )
        if isinstance(command, LazyGroup):
            _read_tables(command, (*path, key), table, file, settings)
        else:
            _read_options(command, (*path, key), table, file, settings)


def _read_options(
    command: click.Command, path: tuple[str, ...], table: dict[str, Any], file: Path, settings: Settings
) -> None:
    options = {long_name(p): p for p in command.params if isinstance(p, click.Option)}
    for key, value in table.items():
        option = options.get(key)
        if option is None:
            raise _unknown(file, path, key, options)
        _refuse_foreign((*path, key), value, file)
        _put(
            settings,
            path,
            str(option.name),
            _checked(option, value, f"{file}: [{'.'.join(path)}] {key}"),
            file,
        )


def _checked(option: click.Option, value: Any, where: str) -> Any:
    """Return a value as the command line would give it; click converts it when the command runs."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where} is {value!r}, expected true or false")
        return value
    if option.multiple:
        value = value if isinstance(value, list) else [value]
        return tuple(_text(option, one, where) for one in value)
    return _text(option, value, where)


def _text(option: click.Option, value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"{where} is {value!r}, expected a text or a number")
    return _expand(str(value)) if isinstance(option.type, click.Path) else str(value)


def _expand(path: str) -> str:
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        return path


def _refuse_foreign(option: tuple[str, ...], value: Any, file: Path) -> None:
    key = option[-1]
    why = _USERS_ALONE.get(key, "it runs a script without a container" if value == "host" else None)
    if why is not None and option not in _ANYBODYS and not file.is_absolute():
        mine = user_file()
        hint = f"set it in {mine}, or as a flag" if mine is not None else "pass it as a flag"
        raise UsageError(f"{file} in the working directory may not set {key} = {value!r}: {why}", hint)


def _put(settings: Settings, path: tuple[str, ...], name: str, value: Any, file: Path) -> None:
    """Enter a value, unless a file that was read before has it, or a command's own table does."""
    if (*path, name) in settings.origins:
        return
    place = settings.default_map
    for part in path:
        place = place.setdefault(part, {})
    place[name] = value
    settings.origins[(*path, name)] = file


def _unknown(file: Path, path: tuple[str, ...], key: str, known: Iterable[str]) -> UsageError:
    nearest = difflib.get_close_matches(key, list(known), 1, cutoff=0)
    where = f" in [{'.'.join(path)}]" if path else ""
    hint = f"the nearest key is {nearest[0]}" if nearest else ""
    return UsageError(f"{file}: unknown key {key!r}{where}", hint)
