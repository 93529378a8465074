"""What extractors leave on disk, one module a format."""
