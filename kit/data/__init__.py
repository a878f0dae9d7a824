"""Training data: the shard format, the smoke language, canary streams, and FineWeb."""
