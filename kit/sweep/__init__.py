"""
Sweeps: the grid of a benchmark as cells, each one run of an agent, on this machine or on Slurm.

A cell is named by its content. Starts, Slurm jobs and ends are files below the sweep's directory, and nothing
in it is deleted. Starts no guest itself: a cell is a process of `speedrun sweep cell`.
"""
