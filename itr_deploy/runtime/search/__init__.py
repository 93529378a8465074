"""Searching one gallery: in memory, on disk, and the coarse shortlist before either."""
