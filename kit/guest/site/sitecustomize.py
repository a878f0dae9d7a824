"""
Write whole lines, each with one system call, so that the host stamps it when it is printed.

torchrun starts every rank with `python -u`, which writes a line and its end apart: on the pipe that the
ranks share, another rank's text could come between the two.
"""

import sys

for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(line_buffering=True, write_through=False)
