"""The benchmark: upstream records, tasks, hints, and the format of a submission."""
