"""Foundation of all other packages: digests, files, locks, documents and errors."""
