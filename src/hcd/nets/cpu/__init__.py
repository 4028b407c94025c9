"""Kernels that make networks fast and small on CPUs, and the rules that choose between them."""
