"""Options that several commands take, checked in the words of `etasim.simulate`."""

from typing import Any

import click

FIDELITY = "[cycle|analytical]"


class Whole(click.ParamType):  # type: ignore[type-arg]  # generic in the latest click only
    """A whole number as such; other text as it is, for those who say what is allowed."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number or the text."""
        try:
            return int(value)
        except ValueError:
            return value


WHOLE = Whole()


def check_options(**given: Any) -> None:
    """Raises InputError for options of a simulation that cannot be."""
    from etasim.config import InputError
    from etasim.report.inputs import option_problems

    if problems := option_problems(given):
        raise InputError(problems)
