"""Galleries in object stores: S3 and what speaks its protocol, Google Cloud Storage, Azure.

LanceDB reads and writes the table itself. Beside it lies `lease`, a writer's lock that ends by
itself. No checksums are kept: a store has its own, and its objects appear whole. `client` is what
asks the store besides LanceDB, by the same library and the same variables.
"""
