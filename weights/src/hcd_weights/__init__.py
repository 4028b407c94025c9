"""Weights that are too large for the package ``hcd``, each with its model card and metrics."""
