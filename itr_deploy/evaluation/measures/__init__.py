"""What the field measures, from scores: Recall@K, ranks, shortlists, re-ranking."""
