"""``python -m etasim`` and ``etasim`` are the command line."""

from etasim.core.collecting import collect_seldom
from etasim.report.console import settle_streams
from etasim.report.ending import end_on_signals


def main() -> None:
    """Run the command line; signals are answered before it is loaded."""
    settle_streams()
    collect_seldom()
    end_on_signals()
    from etasim.cli import main as command

    command()


if __name__ == "__main__":
    main()
