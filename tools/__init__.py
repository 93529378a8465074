"""Programs that make what the tests compare with."""
