"""Compiles the test kernels with any Triton, runs them through any library that is a CUDA driver, compares."""
