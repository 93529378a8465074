"""What this machine has, what actually loads, and the remedy for what does not."""
