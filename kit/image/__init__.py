"""The image room: from image.toml to a lock, from a lock to the same bytes anywhere. Starts no guest."""
