"""Write the prompts of nodes from the tree and the files of a run (`TreePrompts`)."""

from __future__ import annotations
