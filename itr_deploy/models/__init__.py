"""The models in PyTorch, one file a family. Importing this package loads no torch."""
