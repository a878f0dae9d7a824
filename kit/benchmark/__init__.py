"""What the benchmark is: upstream records, tasks, hints, and the form of a submission."""
