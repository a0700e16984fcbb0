"""The command that draws pictures of results, sweeps and explorations."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from etasim.report.options import PATH, OneOf

if TYPE_CHECKING:
    from etasim.explore.pictures import Shown

PARETO = "pareto"
"""The picture of a sweep."""
OF_EXPLORATIONS = (PARETO, "parallel", "sensitivity", "convergence")
"""All others are of a result."""
ALL = "all"
"""Every picture that DIR has."""


class Picture(click.ParamType):  # type: ignore[type-arg]  # generic in the latest click only
    """The name of a picture, looked up when one is wanted: drawing is slow to import."""

    name = "picture"

    def get_metavar(self, *_: object, **__: object) -> str:
        """All names; usage is told even where a package cannot be loaded."""
        from etasim.core.registry import PluginError

        try:
            return f"[{'|'.join(self._names())}]"
        except PluginError:
            return "PICTURE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from etasim.core.registry import PICTURES, UnknownNameError

        names = self._names()
        if value not in names:
            raise click.BadParameter(str(UnknownNameError(PICTURES.kind, value, names)), ctx, param, "PICTURE")
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin so."""
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]

    @staticmethod
    def _names() -> tuple[str, ...]:
        from etasim.core.registry import PICTURES

        return (*PICTURES.names, *OF_EXPLORATIONS, ALL)


@click.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.argument("picture", type=Picture())
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Picture file [default: DIR/PICTURE.png].")
@click.option("--width", metavar="LENGTH", help="Width, such as 88mm or 3.5in: for a paper's column.")
@click.option("--format", "form", type=OneOf(["png", "svg", "pdf"]), help="Format of pictures without -o [default: png].")
@click.option("-x", metavar="NAME", help="pareto: horizontal figure [default: an objective, or mac_units]; sensitivity: axis.")
@click.option("-y", metavar="NAME", help="pareto: vertical figure [default: an objective, or throughput_gops]; sensitivity: axis.")
@click.option("--colour", metavar="NAME", help="pareto of an exploration: figure that colours the points.")
def plot(
    folder: Path, picture: str, output: Path | None, width: str | None, form: str | None, x: str | None, y: str | None, colour: str | None
) -> None:
    """Draw a picture of the results, the sweep or the exploration in DIR, or all that there are; what a picture of results or of an
    exploration shows is beside it as CSV."""
    from etasim.explore.pictures import Shown
    from etasim.report.drawing import inches_of
    from etasim.report.outputs import check_outputs

    chosen = Shown(x, y, colour)

    if picture == ALL:
        _plot_all(folder, output, form or "png", width, chosen)
        return
    path = output or folder / f"{picture}.{form or 'png'}"
    check_outputs([("-o", path)])
    if picture in OF_EXPLORATIONS and (picture != PARETO or _is_exploration(folder)):
        from etasim.explore.pictures import plot_exploration

        click.echo(plot_exploration(picture, folder, chosen, path, inches_of(width)))
    elif picture == PARETO:
        from etasim.explore.plots import plot_pareto

        click.echo(plot_pareto(folder, x or "mac_units", y or "throughput_gops", path))
    else:
        from etasim.report.plots import plot as plot_result

        click.echo(plot_result(picture, folder, path, inches_of(width)))


def _is_exploration(folder: Path) -> bool:
    from etasim.explore.database import DATABASE

    return (folder / DATABASE).exists()


def _plot_all(folder: Path, output: Path | None, form: str, width: str | None, chosen: "Shown") -> None:
    """Draw every picture that a result, or an exploration, has; say why there is none of the others."""
    from etasim.report.drawing import inches_of

    if output is not None:
        raise click.UsageError("-o names one file; all pictures go into DIR")
    if _is_exploration(folder):
        from etasim.explore.pictures import plot_all_explored

        all_made = plot_all_explored(folder, chosen, form, inches_of(width))
    else:
        from etasim.report.plots import plot_all

        all_made = plot_all(folder, form, inches_of(width))
    for name, made in all_made.items():
        click.echo(made if isinstance(made, Path) else f"{name}: {made}", err=not isinstance(made, Path))


COMMANDS = (plot,)
