"""Evaluation: the field's data on disk and its measures."""
