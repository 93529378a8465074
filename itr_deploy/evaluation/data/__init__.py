"""The field's data sets on disk, read without keeping them in memory."""
