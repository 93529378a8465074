"""The export half: from a trained checkpoint to a bundle. Needs the extra ``export``.

`engines` alone does not: it builds engines from a bundle.
"""
