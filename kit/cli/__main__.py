"""`python -m kit.cli`, the same as `speedrun`. Holds no code of its own."""

from kit.cli import main

main()
