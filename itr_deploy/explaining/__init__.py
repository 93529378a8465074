"""What matched in the hits of a search, as a page."""
