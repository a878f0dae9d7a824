"""`speedrun bundle schema`: print the JSON Schema of a signed document."""

from __future__ import annotations

import click

from kit.cli.terminal import emit_json, say
from kit.core.schema import load_schema, schema_names


@click.command("schema")
@click.argument("name", default="result.v2")
@click.option("--list", "list_names", is_flag=True, help="List the names of all schemas.")
def command(name: str, list_names: bool) -> None:
    """Print the JSON Schema of a signed document.

    NAME defaults to the payload of a bundle. The schemas use draft 2020-12.

    \b
    Examples:
      speedrun bundle schema
      speedrun bundle schema --list
    """
    if list_names:
        say(*schema_names())
    else:
        emit_json(load_schema(name))
