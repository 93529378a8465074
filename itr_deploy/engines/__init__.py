"""Engines: their files, fit, shapes and libraries, the builder and the preflight."""
