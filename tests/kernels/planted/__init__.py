"""Wrong kernels and wrong calls, and what the CPU device must say of each"""
