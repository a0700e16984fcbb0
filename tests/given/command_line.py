"""How a test runs a command of etasim: in this process, its output caught."""

from click.testing import CliRunner, Result

from etasim.cli import main


def invoke(*arguments: object) -> Result:
    """``etasim *arguments``: exit status, output and errors."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])
