"""Set up stdout and stderr so that every text can be written, whatever the encoding of the locale."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import signal
import sys

HANDLER = "speedrun-replace"
"""Name of the error handler of both streams."""


def prepare_streams() -> None:
    """
    Let stdout and stderr replace each character that their encoding lacks.

    A path with bytes that are not text is printed as those bytes. A standard stream that is closed is opened
    on /dev/null: a file or a pipe that is opened later would get its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    codecs.register_error(HANDLER, replace_unencodable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def flush_streams() -> None:
    """Flush stdout and stderr; what cannot be written is dropped, so that the exit code stays."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def end_if_unread() -> None:
    """End this process by SIGPIPE if the reader of stdout or stderr has gone; a shell reports 141."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)  # errors are always reported
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


def replace_unencodable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written for characters that cannot be encoded: their byte, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return "?", error.start + 1


def can_encode(text: str) -> bool:
    """Tell whether the encoding of stdout has all characters of `text`."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
