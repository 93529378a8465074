"""A split of the field as it lies on disk, read without taking memory."""
