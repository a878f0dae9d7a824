"""Fill the HTML templates of the board; escape every value."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kit.core.text import printable


def html_environment() -> Environment:
    """
    Return the environment that renders the files in `templates/`.

    Autoescape is on for every file. A name without a value is an error. Characters that a reader cannot see
    as they are become U+FFFD, see `kit.core.text.printable`.
    """
    return Environment(
        loader=PackageLoader("kit.leaderboard.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # the page includes page.js byte for byte: its policy names the hash
    )


def _finalize(value: object) -> object:
    """Replace hidden characters; what a macro has rendered went through here before."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
