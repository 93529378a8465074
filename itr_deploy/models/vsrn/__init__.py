"""VSRN: Visual Semantic Reasoning Network (Li et al., ICCV 2019)."""
