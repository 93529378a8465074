"""One gallery out of parts that several processes encode, on one machine or on many.

A part is an ordinary table with a slice of the items, made as `parts` makes a whole gallery: in
several commits, gone on with after a kill. `plan` is what all parts agree on, `place` where they
lie, `part` makes one, `joining` makes one version of them all without copying what they hold.
"""
