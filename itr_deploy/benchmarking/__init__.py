"""How fast a bundle searches, and where the time goes. Only the PyTorch baseline needs PyTorch."""
