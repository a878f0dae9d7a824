"""
All exceptions that the kit raises.

* KitError               a message for a person and a hint for the next step
  - UsageError           the request is invalid                              (exit 2)
  - PrerequisiteError    an engine, a GPU, data, a key or an extra is missing (exit 3)
  - IntegrityError       data failed verification                            (exit 4)
    + DigestMismatch     a digest differs from the expected one
    + StaleLock          a lock was made from another version of its spec
    + SchemaError        a document does not match its schema
    + SignatureError     a signature, key or envelope is invalid or untrusted
  - RunError             the kit failed: engine, disk, network               (exit 5)
    + NetworkError       a remote source failed or did not answer
    + EngineSilent       a container engine did not answer, or stopped answering

A failed run is a result, not an exception: see `kit.values.run_result.RunStatus`. `kit.cli` maps exceptions
to exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence

CHECK_PATH = "check the path, or pass another one"
ALLOW = "give this user access to it, or pass another path"


class KitError(Exception):
    """
    Base of every expected failure.

    `headline` is the first line, `details` are further lines, `message` is all of them. `hint` is one line
    that says what to do next; it can be empty.
    """

    def __init__(self, message: str, hint: str = "", details: Sequence[str] = ()) -> None:
        self.headline = message
        self.details = tuple(details)
        self.message = "\n  ".join((message, *details))
        self.hint = hint
        super().__init__(self.message)


class UsageError(KitError):
    """The request is invalid (unknown record, contradictory options)."""


class PrerequisiteError(KitError):
    """Something that the command needs is missing."""


class IntegrityError(KitError):
    """Data failed verification."""


class DigestMismatch(IntegrityError):
    """A digest differs from the expected one."""


class StaleLock(IntegrityError):
    """A lock file was made from another version of its spec."""


class SchemaError(IntegrityError):
    """A document does not match its schema."""


class SignatureError(IntegrityError):
    """An envelope, key or signature is invalid or untrusted."""


class RunError(KitError):
    """The kit failed, or could not determine how the run ended."""


class NetworkError(RunError):
    """A remote source refused the request, failed or did not answer."""


class EngineSilent(RunError):
    """A container engine did not answer, or stopped answering."""
