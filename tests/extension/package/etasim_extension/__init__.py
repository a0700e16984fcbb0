"""Things that a package can add to etasim: each module is one, and its entry point in pyproject.toml makes it known."""
