"""``python -m hcd`` is the command ``hcd``."""

from hcd.cli.main import main

main()
