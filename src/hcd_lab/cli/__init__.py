"""Commands of the laboratory; they join the ``hcd`` command line."""
