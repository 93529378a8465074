"""The field's measures of scores: Recall@K, ranks, shortlists, re-ranking."""
