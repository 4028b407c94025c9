"""Weights of the models of ``hcd`` that its own package leaves out for their size, each with its card and figures."""
