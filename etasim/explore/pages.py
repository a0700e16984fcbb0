"""Which page a command's folders ask for: of a run, of runs beside each other, of an exploration, or of the reproduction."""

from collections.abc import Sequence
from pathlib import Path

from etasim.config import InputError, Problem
from etasim.config.files import close_to
from etasim.explore.database import DATABASE
from etasim.report.page.document import Page
from etasim.report.staging import finish_publication
from etasim.report.store import RESULTS


def page_of(folders: Sequence[Path], with_nests: bool = False) -> Page:
    """The page of what ``folders`` hold. Raises InputError for one that holds nothing of the kind, or is damaged."""
    if len(folders) > 1:
        from etasim.explore.comparison_page import comparison_page

        return comparison_page(folders)
    folder = folders[0]
    if folder.is_file():
        from etasim.explore.reproduction_page import reproduction_page

        return reproduction_page(folder)
    if (folder / DATABASE).exists():
        from etasim.explore.exploration_page import exploration_page

        return exploration_page(folder)
    if folder.is_dir():
        finish_publication(folder)
    if not (folder / RESULTS).exists():
        wanted = f"holds neither {RESULTS} of a run nor {DATABASE} of an exploration"
        raise InputError([Problem(str(folder), None, "", wanted if folder.is_dir() else f"no such folder{close_to(folder)}")])
    from etasim.report.page.run_page import run_page

    return run_page(folder, with_nests)
