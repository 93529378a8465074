"""Finds the cheapest search that keeps a given share of the top 10 and writes it to a bundle."""
