"""C++ kernels for CPUs, and the library that they are compiled to.

Each has a twin in plain torch, which computes the same and is used where no compiler is installed.
"""
