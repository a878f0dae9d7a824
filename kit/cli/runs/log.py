"""`speedrun runs log`: print what a run's script printed."""

from __future__ import annotations

import time
from pathlib import Path

import click

from kit.cli.runs.options import out_option
from kit.cli.terminal import note, say
from kit.core.text import one_line
from kit.evaluate.run_list import find_run
from kit.evaluate.run_output import OutputReader, await_run, follow
from kit.sandbox.folder import is_open


@click.command("log")
@click.argument("run")
@click.option("-f", "--follow", "following", is_flag=True, help="Print new lines until the run has ended.")
@out_option
def command(run: str, following: bool, out: Path) -> None:
    """Print what a run's script printed.

    RUN is a run's directory, its id, the start of its id, or `latest`: the newest run in --out. With -f it
    can also be a run that has not started yet: its id, or `next` for the next one that starts.

    Control characters and escape sequences are replaced or removed, and tabs are expanded. The bytes as
    printed are in guest.log in the run's directory.

    \b
    Examples:
      speedrun runs log latest
      speedrun runs log runs/<run_id>
      speedrun runs log -f latest
    """
    if not following:
        found = find_run(run, out)
        for lines in OutputReader(found.log).read(all_of_it=True):
            say(*lines)
        if is_open(found):
            note(f"{one_line(found.run_id, 80)} has no result yet; to follow it: add -f")
        return
    found = await_run(run, out, lambda: note(f"waiting for a run in {out}; Ctrl-C to stop"), time.sleep)
    for lines in follow(found, time.sleep):
        say(*lines)
    state = "interrupted" if is_open(found) else "ended"
    note(f"{one_line(found.run_id, 80)} {state}")
