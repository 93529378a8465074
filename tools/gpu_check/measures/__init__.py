"""Programs that the environment with the wheel runs; each prints JSON objects, one a line."""
