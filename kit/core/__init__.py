"""Bytes, files, documents and errors: what every room builds on. Knows nothing of runs."""
