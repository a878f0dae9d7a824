"""Write results as entries, send them to a shared repository, and check them there."""
