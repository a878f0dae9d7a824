"""Audits: pure functions that check a run's claims and source. They start nothing and open no files."""
