"""Turn a model's answer into changed files, or into a reason that it can act on. Pure; runs nothing."""
