"""From picture files to answers: a small region detector, and a matcher trained on its regions."""
