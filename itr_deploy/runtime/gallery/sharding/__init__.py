"""Galleries in shards: which shard has an item, the record beside them, and how one is split."""
