"""The doctor: what this machine has, what truly loads, and how to mend what does not."""
