"""The region detector of "bottom-up attention": a Faster R-CNN over Visual Genome's classes.

`plain` is the published program, `deployed` its two graphs; in between and after them there is no
network. Nothing here is a family: it makes the regions that the families read.
"""
