"""The runtime half: encoding, matching and search from a bundle, without PyTorch."""
