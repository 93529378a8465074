"""How fast a bundle searches, and where the time goes; no PyTorch but for its own baseline."""
