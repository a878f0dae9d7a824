"""Draw one live line at the bottom of a terminal with rich."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Column
from rich.text import Text

BAR_WIDTH = 20
REDRAWN_PER_S = 8


class _Elapsed(ProgressColumn):
    """The elapsed time, redrawn even if nothing else changes."""

    max_refresh = None

    def __init__(self, elapsed: Callable[[], str]) -> None:
        super().__init__(Column(no_wrap=True))
        self._elapsed = elapsed

    def render(self, task: Task) -> Text:
        """Return the time now."""
        return Text(self._elapsed().strip())


class _Bar(BarColumn):
    """A bar where the total is known; nothing elsewhere."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        """Return the bar."""
        return super().render(task) if task.fields["bar"] else Text("")


class LiveLine:
    """A spinner, the elapsed time, a text, a bar and a text after it; starts at once."""

    def __init__(self, elapsed: Callable[[], str]) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._progress = Progress(
            SpinnerColumn(),
            _Elapsed(elapsed),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            _Bar(BAR_WIDTH),
            TextColumn("{task.fields[after]}", markup=False, table_column=Column(no_wrap=True)),
            console=self._console,
            transient=True,
            refresh_per_second=REDRAWN_PER_S,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", after="", bar=False)
        self._progress.start()

    def show(self, text: str, done: int, total: int, after: str) -> None:
        """Replace what the line shows. Without a total there is no bar."""
        self._progress.update(
            self._task,
            description=text,
            completed=min(done, total),
            total=max(total, 1),
            after=after,
            bar=total > 0,
        )

    def print_above(self, text: str, colour: str | None) -> None:
        """Print a line that stays, above this one."""
        self._console.print(Text(text, style=colour or ""), soft_wrap=True)

    def stop(self) -> None:
        """Remove the line and give the cursor back."""
        self._progress.stop()
