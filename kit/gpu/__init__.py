"""Inspect the GPUs of this machine: inventory, preflight checks, and release of their memory."""
