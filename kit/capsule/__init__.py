"""One archive with all that an offline rerun needs: its writer and its strict reader. Runs nothing."""
