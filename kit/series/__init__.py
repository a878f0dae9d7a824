"""Run and verify a series: runs that are reserved and signed before the first one starts."""
