"""Write results as submissions, send them to a shared repository, and check them there."""
