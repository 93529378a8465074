"""Region features in HDF5, in the layouts that are in circulation."""
