"""`speedrun config show`: print the value of every option, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from kit.cli.lazy import long_name
from kit.cli.settings import SHARED, Settings, setting_files, user_file
from kit.cli.terminal import complain, emit_json, note, say, table, warn
from kit.cli.variables import set_variables
from kit.core.errors import PrerequisiteError, UsageError

SOURCES = {ParameterSource.ENVIRONMENT: "environment", ParameterSource.DEFAULT_MAP: "file"}


@dataclass(frozen=True, slots=True)
class OptionValue:
    """The value that an option has if its flag is not given."""

    command: str
    option: str
    value: Any
    source: str
    """`default`, `file` or `environment`."""
    origin: str | None
    """The file or the variable; None for a default."""
    variable: str
    problem: str | None = None
    """Why the command would refuse the value, or why there is no default."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "command": self.command,
            "option": self.option,
            "value": self.value,
            "source": self.source,
            "from": self.origin,
            "variable": self.variable,
            "problem": self.problem,
        }


@click.command("show")
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context: click.Context, names: tuple[str, ...], as_json: bool) -> int:
    """Print the value of every option, and where it comes from.

    A flag outranks an environment variable, which outranks speedrun.toml in the working directory, which
    outranks speedrun.toml in your configuration directory. COMMAND limits the list to one command or group.

    Exit 2: a value is invalid, so that its command would refuse it.

    \b
    Examples:
      speedrun config show eval
      speedrun config show bundle verify --json
    """
    root = context.find_root()
    settings = root.obj if isinstance(root.obj, Settings) else Settings(setting_files())
    every = tuple(_values(root, (), settings))
    shown = [v for v in every if tuple(v.command.split())[: len(names)] == names]
    if not shown:
        raise UsageError(f"{' '.join(names)!r} is not a command with options", "run: speedrun --help")
    known = {v.variable for v in every}
    unknown = [name for name in set_variables() if name not in known]
    for name in unknown:
        warn(f"{name} is set, but no option has this variable")
    invalid = [v for v in shown if v.problem is not None and v.source != "default"]
    homeless = sorted({f"--{v.option}" for v in shown if v.problem is not None and v.source == "default"})
    if homeless:
        warn(f"no home directory, so these options have no default: {', '.join(homeless)}; set HOME")
    for (place, value), v in {(_place(v), str(v.value)): v for v in invalid}.items():
        complain(
            f"{place} = {value!r}: {v.problem}", f"correct or remove it, see: speedrun {v.command} --help"
        )
    if as_json:
        emit_json(
            {
                "files": [str(path.absolute()) for path in settings.files],
                "values": [v.document() for v in shown],
                "unknown_variables": unknown,
            }
        )
        return 2 if invalid else 0
    for path in settings.files:
        note(f"read: {path.absolute()}")
    if not settings.files:
        note(f"no speedrun.toml in the working directory, nor {user_file() or 'a home directory'}")
    rows = [
        (
            v.command,
            f"--{v.option}",
            _format(v.value) + (" (INVALID)" if v.problem else ""),
            v.origin or "default",
        )
        for v in shown
    ]
    say(*table(("command", "option", "value", "from"), rows))
    return 2 if invalid else 0


def _place(value: OptionValue) -> str:
    """Return where a value stands: a variable, or a key of a file."""
    if value.source == "environment":
        return value.variable
    if value.option in SHARED:
        return f"{value.origin}: {value.option}"
    return f"{value.origin}: [{'.'.join(value.command.split())}] {value.option}"


def _values(context: click.Context, path: tuple[str, ...], settings: Settings) -> Iterator[OptionValue]:
    group = context.command
    assert isinstance(group, click.Group)  # noqa: S101  # the caller passes groups
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        if below is None:
            continue
        inner = click.Context(below, info_name=name, parent=context)
        if isinstance(below, click.Group):
            yield from _values(inner, (*path, name), settings)
            continue
        for option in below.params:
            if isinstance(option, click.Option):
                yield _value(option, inner, (*path, name), settings)


def _value(
    option: click.Option, context: click.Context, path: tuple[str, ...], settings: Settings
) -> OptionValue:
    try:
        value, where = option.consume_value(context, {})
    except PrerequisiteError as e:
        return OptionValue(
            " ".join(path), long_name(option), None, "default", None, str(option.envvar), e.headline
        )
    source = SOURCES.get(where, "default")
    variable = str(option.envvar)
    file = settings.origins.get((*path, str(option.name)))
    origin = variable if source == "environment" else str(file) if source == "file" else None
    problem = None
    if source != "default":
        try:
            converted = option.type_cast_value(context, value)
            value = converted if option.is_flag else value
        except click.BadParameter as e:
            problem = e.message
    return OptionValue(" ".join(path), long_name(option), _plain(value), source, origin, variable, problem)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; None if the option has none."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool) else None


def _format(value: Any) -> str:
    match value:
        case None | []:
            return "-"
        case bool():
            return "true" if value else "false"
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)
