"""
An agent: a scaffold searches a tree of scripts that a model edits; every node is a signed evaluation.

A node's status comes from its bundle alone. No language model reads a score, a log or a status.
"""
