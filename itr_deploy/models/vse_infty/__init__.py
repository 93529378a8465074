"""VSE-infinity: Learning the Best Pooling Strategy for Visual Semantic Embedding (CVPR 2021)."""
