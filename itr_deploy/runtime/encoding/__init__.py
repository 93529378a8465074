"""From what users give to encoded items: checks, sources, encoders, storage types."""
