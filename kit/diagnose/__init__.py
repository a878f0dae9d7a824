"""Check what works on this machine and in an image."""
