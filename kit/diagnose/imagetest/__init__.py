"""
Self-test of an image: start it under the limits of a run and check that it can do what records need.

`run` starts it, `report` reads its output, which is untrusted, and `judge` compares that with the lock.
"""
