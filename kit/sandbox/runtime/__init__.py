"""The runtimes that can start a guest, one module each."""
