"""From user input to encoded items: checks, sources, encoders, storage types."""
