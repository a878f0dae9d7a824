"""Turn image.toml into a lock, and a lock into the same image bytes on every machine."""
