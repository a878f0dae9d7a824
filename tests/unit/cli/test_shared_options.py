"""An option that several commands have says the same in each of them."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from kit.cli import speedrun


def commands(command: click.Command = speedrun) -> Iterator[click.Command]:
    if not isinstance(command, click.Group):
        yield command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from commands(below)


@pytest.mark.parametrize(
    "flag",
    ["--profile", "--retime", "--usd", "--store", "--keys", "--python", "--start-time", "--total-deadline"],
)
def test_a_shared_option_has_one_help_text(flag: str) -> None:
    options = [p for command in commands() for p in command.params if flag in p.opts]
    texts = {(p.help or "").partition("  [default: ")[0] for p in options if isinstance(p, click.Option)}
    assert len(options) > 1 and len(texts) == 1, texts


def test_a_mirror_has_downloads_and_upstream_is_a_clone() -> None:
    helps = {
        flag: [
            p.help or ""
            for c in commands()
            for p in c.params
            if isinstance(p, click.Option) and flag in p.opts
        ]
        for flag in ("--mirror", "--upstream")
    }
    assert len(helps["--mirror"]) > 10 and not any("clone" in text.lower() for text in helps["--mirror"])
    assert len(helps["--upstream"]) > 5 and all(text.startswith("Clone of ") for text in helps["--upstream"])


def test_a_default_that_a_text_states_has_no_parentheses() -> None:
    helps = [c.get_help(click.Context(c, max_content_width=1000, terminal_width=1000)) for c in commands()]
    assert not [text for text in helps if "[default: (" in text]
    assert sum("[default: ~/.cache/speedrun-kit]" in text for text in helps) > 10
