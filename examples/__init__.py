"""Example worlds and scripts for itr-deploy."""
