"""
Results as signed documents: values, bytes, keys and verification.

This package does not depend on how a run was made.
"""
