"""Options that the commands of `speedrun runs` share."""

from __future__ import annotations

from pathlib import Path

import click

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory of runs, as for `speedrun eval`.",
)
"""`--out DIR`, passed as `out: Path`."""
