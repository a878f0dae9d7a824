"""
Sweeps: the grid of a benchmark as cells, each one run of an agent, on this machine or on Slurm.

The name of a cell is the digest of its choices. Starts, Slurm jobs and ends are files below the sweep's
directory. No file is deleted. Starts no guest itself: a cell is a process of `speedrun sweep cell`.
"""
