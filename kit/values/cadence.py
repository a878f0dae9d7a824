"""How often a script prints lines, and whether with a clock: facts of the record, not of a log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cadence:
    """The lines that a run of a task owes."""

    training_every: int | None
    """Steps between two training lines; None if the script prints none."""
    validation_every: int
    """Steps between two validation lines; the last step is validated in any case."""
    validates_start: bool
    """Whether there is a validation line at step 0."""
    guest_clock: bool
    """Whether lines carry a clock of the guest's own; otherwise the host's is the time."""

    def training_lines(self, last_step: int) -> int | None:
        """Return how many training lines a run to `last_step` owes."""
        return None if self.training_every is None else max(0, last_step) // self.training_every

    def validation_lines(self, last_step: int) -> int:
        """Return how many validation lines a run to `last_step` owes at this cadence."""
        if last_step <= 0:
            return int(self.validates_start)
        between = (last_step - 1) // self.validation_every
        return int(self.validates_start) + between + 1
