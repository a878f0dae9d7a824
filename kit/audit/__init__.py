"""Audits: small pure functions that judge what a run left behind. They start nothing and read no file."""
