"""The models in PyTorch, one package per family. Importing this package loads no torch."""
