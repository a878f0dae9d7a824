"""Values that a reader derives from a result: verdict, tier, counted time, agreement with another result."""
