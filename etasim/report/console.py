"""Tables and texts on standard output."""

PIPE_WIDTH = 160
"""Columns of a table where standard output is not a terminal."""


def print_renderable(renderable) -> None:
    """Print what rich can draw."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(renderable)
