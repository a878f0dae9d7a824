"""Calls of a model over the chat completions protocol: recorded, retried in one place, replayable."""
