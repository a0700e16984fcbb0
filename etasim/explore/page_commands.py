"""The command that makes a page of results, or serves one."""

from pathlib import Path

import click

from etasim.report.options import PATH


@click.command()
@click.argument("folders", type=PATH, nargs=-1, required=True, metavar="DIR [DIR2 ...]")
@click.option("-o", "--output", type=PATH, metavar="PAGE.html", help="The page; it holds all that it needs.")
@click.option("--nests", is_flag=True, help="Of a run: plan it again, and show each layer's loops on the array.")
@click.option("--serve", is_flag=True, help="Serve the page on this machine, and follow what goes on in DIR.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of --serve [default: one that is free].")
def report(folders: tuple[Path, ...], output: Path | None, nests: bool, serve: bool, port: int) -> None:
    """Make one page of a run, of several runs beside each other, or of an exploration; of the reproduction, from the file that
    `etasim reproduce --json` prints. It opens in any browser, and needs no network.
    """
    from etasim.config import InputError, Problem
    from etasim.explore.pages import page_of
    from etasim.report.extras import need
    from etasim.report.outputs import check_outputs
    from etasim.report.page.document import write_page

    need("vl_convert")
    if (output is None) == (not serve):
        raise InputError([Problem("-o", None, "", "name the page with -o PAGE.html, or serve it with --serve: one of the two")])
    if output is None:
        from etasim.explore.serving import serve_page

        serve_page(folders, nests, port, click.echo)
        return
    page = page_of(folders, nests)
    check_outputs([("-o", output)])
    write_page(page, output)
    click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


COMMANDS = (report,)
