"""Start one guest under limits and clocks, in a container engine, and prove that it is gone."""
