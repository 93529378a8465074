"""`index` in parts: by processes that anything may start, or by Ray's actors."""
