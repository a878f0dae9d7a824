"""The GPUs of this machine: what they are, whether they are fit for a run, and that their memory is free."""
