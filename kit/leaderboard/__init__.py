"""Check a shared repository of submissions, and render it as a page."""
