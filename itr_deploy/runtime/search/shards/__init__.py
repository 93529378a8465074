"""Searching a gallery in shards: what one answers, which replica is asked, and the merge."""
