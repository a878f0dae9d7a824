"""Render a board of submitted results as one static page."""
