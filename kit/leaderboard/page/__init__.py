"""A board of submitted results as one static page: what was accepted, scored and drawn. Accepts nothing."""
