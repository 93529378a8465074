"""Scores of a whole split: matrices on disk, what fills them, and coarse embeddings."""
