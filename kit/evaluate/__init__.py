"""
One evaluation: a request becomes a plan, the plan a supervised run, the run a signed bundle.

Prints nothing. Agents, series, reproductions and sweeps all come through here.
"""
