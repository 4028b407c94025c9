"""CPU kernels: faster and smaller than PyTorch's operators, and the dispatch that chooses between them."""
