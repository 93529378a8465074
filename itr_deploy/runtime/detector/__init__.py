"""Regions from pictures: what the published detectors do around their two networks, in numpy."""
