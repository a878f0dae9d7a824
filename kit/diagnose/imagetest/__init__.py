"""
Image self-test: starts an era's image as a run's would be started and lets it show what it can do.

`conduct` starts it, `report` reads what it said as a stranger's, `judge` holds that against the lock.
"""
