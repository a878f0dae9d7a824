"""Scores of many runs: tables and bundles in, FSR per task and aggregates out. Runs nothing, ranks nobody."""
