"""The cheapest search that keeps what is asked, written into a bundle."""
