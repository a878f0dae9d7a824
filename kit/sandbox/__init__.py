"""Run one guest in a container under limits and deadlines, and check that nothing of it is left."""
