"""``python -m etasim`` is the command line."""

from etasim.cli import main

main()
