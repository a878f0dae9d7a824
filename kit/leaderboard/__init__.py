"""Check a shared repository of entries, and render it as a page."""
