"""The values that move between rooms: what may happen in a run, how it ended, what its log says."""
