"""Options that several commands take, checked in the words of `etasim.simulate`."""

from pathlib import Path
from typing import Any

import click

from etasim.core.registry import allowed_names

FIDELITY = "[cycle|analytical]"


class OneOf(click.Choice):  # type: ignore[type-arg]  # generic in the latest click only
    """One of some names; of another one it says which is close."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What is said of a name that is none of them."""
        return f"unknown name {value!r}; {allowed_names(value, map(str, self.choices))}"


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


class _NotEmpty(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; an empty one, as of a variable that is not set, would be the folder at hand."""
        if value == "":
            self.fail("is empty, a file or folder is expected", param, ctx)
        return super().convert(value, param, ctx)


PATH = _NotEmpty(path_type=Path)
"""What a user names, whether it is there or not."""


def check_options(**given: Any) -> None:
    """Raises InputError for options of a simulation that cannot be."""
    from etasim.config import InputError
    from etasim.report.inputs import option_problems

    if problems := option_problems(given):
        raise InputError(problems)
