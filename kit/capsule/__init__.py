"""Write and read capsules: archives with everything that an offline rerun needs."""
