"""Pictures: which files are pictures, and how each becomes an array."""
