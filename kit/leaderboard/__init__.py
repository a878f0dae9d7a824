"""Submissions in a shared repository, and the page made of them."""
