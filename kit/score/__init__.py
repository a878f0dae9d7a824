"""Score many runs, from tables or bundles: FSR per task, and aggregates over the tasks."""
