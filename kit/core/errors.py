"""
Everything the kit raises.

* KitError               a message for a person, a hint for the next step
  - UsageError           the question itself is wrong                       (exit 2)
  - PrerequisiteError    an engine, a GPU, data, a key or an extra is missing (exit 3)
  - IntegrityError       bytes are not the bytes that were promised          (exit 4)
    + DigestMismatch     a digest differs
    + StaleLock          a lock was made from another version of its spec
    + SchemaError        a document is not of its declared form
    + SignatureError     a signature, key or envelope is not acceptable
  - RunError             we could not do it: engine, disk, network           (exit 5)
    + NetworkError       a source did not answer
    + EngineSilent       a container engine did not answer, or stopped answering

A run that fails is not an error: see `kit.values.run_result.RunStatus`. `kit.cli` maps these to exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence


class KitError(Exception):
    """
    Base of every expected failure.

    `headline` is one line, `details` are further ones, `message` is all of them. `hint` says what to do next,
    in one line; it may be empty.
    """

    def __init__(self, message: str, hint: str = "", details: Sequence[str] = ()) -> None:
        self.headline = message
        self.details = tuple(details)
        self.message = "\n  ".join((message, *details))
        self.hint = hint
        super().__init__(self.message)


class UsageError(KitError):
    """The request itself cannot be right (unknown record, contradictory options)."""


class PrerequisiteError(KitError):
    """Something that the work needs is not here."""


class IntegrityError(KitError):
    """Bytes are not what was promised."""


class DigestMismatch(IntegrityError):
    """A digest differs from the expected one."""


class StaleLock(IntegrityError):
    """A lock file was made from another version of its spec."""


class SchemaError(IntegrityError):
    """A document does not have its declared form."""


class SignatureError(IntegrityError):
    """An envelope, key or signature is not acceptable."""


class RunError(KitError):
    """The kit could not do its part, or could not tell how the run ended."""


class NetworkError(RunError):
    """A remote source refused, failed or did not answer."""


class EngineSilent(RunError):
    """A container engine did not answer, or stopped answering."""
