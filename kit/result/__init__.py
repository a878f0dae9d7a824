"""
Results as signed documents: their values, their bytes, their keys and their verification.

This room does not know how a run was made, and starts nothing.
"""
