"""Values that packages share: the specification of a run, its result and its log."""
