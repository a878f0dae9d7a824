"""The commands that a page shows, with the lines that it shows as their answers. Runs none of them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from desk import RUN_ID, SERIES_ID

REPOSITORY = Path(__file__).parents[3]
GUIDES = sorted((REPOSITORY / "docs" / "guides").glob("*.md"))
OTHERS = sorted({REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")} - set(GUIDES))
MARK = "# not tested"
SPEEDRUN = (".venv/bin/speedrun", "speedrun")
PLACES = (("<run_id>", RUN_ID), ("<series_id>", SERIES_ID))


@dataclass(frozen=True)
class Shown:
    """A command of a page and the lines that it shows as its answer; `...` stands for lines left out."""

    page: str
    command: str
    answer: tuple[str, ...]

    @property
    def tested(self) -> bool:
        return not self.command.endswith(MARK)

    @property
    def argv(self) -> list[str]:
        """Program and arguments, with the desk's runs in place of the page's."""
        line = self.command.removesuffix(MARK)
        for placeholder, value in PLACES:
            line = line.replace(placeholder, value)
        return shlex.split(line, comments=True)

    @property
    def lines(self) -> list[str]:
        """The lines of the answer that must come."""
        found = [line for line in self.answer if line.strip() not in ("", "...")]
        for placeholder, value in PLACES:
            found = [line.replace(placeholder, value) for line in found]
        return found

    def __str__(self) -> str:
        return f"{self.page}: {self.command}"


def shown(page: Path) -> list[Shown]:
    """Return what the console blocks of a page show, in its order; a mark is for each command of its line."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *answer = part.rstrip("\n").split("\n")
            mark = MARK if line.endswith(MARK) else ""
            *before, last = line.removesuffix(MARK).rstrip().split(" && ")
            found += [Shown(page.name, f"{command}  {mark}".rstrip(), ()) for command in before]
            found.append(Shown(page.name, f"{last}  {mark}".rstrip(), tuple(answer)))
    return found
