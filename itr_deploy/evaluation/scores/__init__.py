"""Scores of a whole split: matrices on disk, the scorers that fill them, coarse embeddings."""
