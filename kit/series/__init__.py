"""Runs that belong together: reserved and signed before the first, each accounted for. Ranks nothing."""
