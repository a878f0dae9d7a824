"""What the commands of `speedrun image` share."""

from __future__ import annotations

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Outcome as JSON on stdout.")
