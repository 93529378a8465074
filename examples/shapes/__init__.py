"""A small world of coloured shapes: pictures, captions, region features and trained checkpoints."""
