"""Tables and texts on standard output."""

import os
import sys
from typing import Any

STANDARD_ERROR = 2
PIPE_WIDTH = 160
"""Columns of a table where standard output is not a terminal."""


def print_renderable(renderable: Any) -> None:
    """Print what rich can draw. Raises BrokenPipeError if nobody reads."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Output(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(renderable)


def settle_streams() -> None:
    """A closed stream swallows what is written to it, and no file that is opened later takes its number; characters that the terminal does
    not know are escaped."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass
    os.close(handle)
    for name, number in (("stdout", 1), ("stderr", STANDARD_ERROR)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
