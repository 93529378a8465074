"""This library and what a user would take instead of it, the same work in one run.

`table` holds a row and prints them, `world` makes the work that all share, `running` runs a peer in
a process of its own, `registry` lists the peers. A module for each kind of peer does the work.
"""
