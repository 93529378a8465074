"""What this machine has, what truly loads, and the remedy for what does not."""
