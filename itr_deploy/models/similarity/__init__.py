"""The similarity vectors of SGRAF (AAAI 2021, sections 3.2 and 3.3), on which LHSC is built too.

A pair has one vector for its two global vectors and one for each word. The families differ in
their encoders and in what becomes of the vectors.
"""
