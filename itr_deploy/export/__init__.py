"""The export half: from a trained checkpoint to a bundle. Needs the extra ``export``."""
