"""Training data: the shard format, the smoke language, and FineWeb. Starts nothing and knows no records."""
