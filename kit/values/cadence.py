"""The lines that a record's script prints, as the record's files state them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cadence:
    """The lines that a run of a task must print."""

    training_every: int | None
    """Steps between two training lines; None if the script prints none."""
    validation_every: int
    """Steps between two validation lines; the last step is validated in any case."""
    validates_start: bool
    """Whether the script prints a validation line at step 0."""
    guest_clock: bool
    """Whether lines show the guest's clock; otherwise the host's clock counts."""

    def training_lines(self, last_step: int) -> int | None:
        """Return the number of training lines of a run to `last_step`; None if the script prints none."""
        return None if self.training_every is None else max(0, last_step) // self.training_every

    def validation_lines(self, last_step: int) -> int:
        """Return the number of validation lines of a run to `last_step` at this cadence."""
        if last_step <= 0:
            return int(self.validates_start)
        between = (last_step - 1) // self.validation_every
        return int(self.validates_start) + between + 1
