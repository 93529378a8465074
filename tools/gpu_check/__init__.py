"""The check of `tools/gpu_check.sh`: packed on one machine, run on another that has a GPU.

What runs there imports nothing but Python's own library until the packed wheel is installed. The
programs in `measures` are run by the environment that has it.
"""
