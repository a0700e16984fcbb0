"""The commands of the pages in docs that are written, not edited: ``python -m`` of the module that knows what stands there."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from etasim.core.json_reading import read_value
from etasim.report.options import PATH


def page_command(about: str, page: Path, document: Callable[[], str]) -> click.Command:
    """Writes ``page`` about something by ``document``."""

    @click.command(help=f"Write the page of {about}.")
    @click.option("--page", type=PATH, default=page, show_default=True, help="The page to write.")
    def main(page: Path) -> None:
        page.write_text(document(), encoding="utf-8", newline="\n")

    return main


def simulated_page_command(
    about: str, page: Path, data: Path, measure: Callable[[], Mapping[str, Any]], document: Callable[[Mapping[str, Any]], str]
) -> click.Command:
    """Writes ``page`` about something from the figures in ``data``, by ``document``; with ``--measure`` it simulates them anew before."""

    @click.command(help=f"Write the page of {about}.")
    @click.option("--measure", "again", is_flag=True, help=f"Simulate {data} anew.")
    @click.option("--page", type=PATH, default=page, show_default=True, help="The page to write.")
    @click.option("--data", type=PATH, default=data, show_default=True, help="What was simulated.")
    def main(again: bool, page: Path, data: Path) -> None:
        if again:
            data.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
        page.write_text(document(read_value(data.read_text(encoding="utf-8"))), encoding="utf-8", newline="\n")

    return main
