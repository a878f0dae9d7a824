"""`python -m kit.cli` is the same as `speedrun`."""

from kit.cli import main

main()
