"""The documentation as a site: ``python -m sphinx -W -b html docs DIR`` (extra ``docs``, decision 0035).

The pages are the Markdown files as they stand; the reference of commands and of the Python interface is written from the code.
"""

import json
from pathlib import Path

import click
from pygments.lexers.special import TextLexer

import etasim
from etasim.cli import main

project, author = "etasim", "the etasim authors"
copyright = f"2026, {author}"
release = version = etasim.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
myst_links_external_new_tab = True
default_role = "code"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False
html_theme = "alabaster"
html_theme_options = {"description": "A cycle-level simulator of an 8-bit training accelerator", "page_width": "1240px"}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False

GENERATED = Path(__file__).parent / "generated"
PUBLIC = {
    "Inputs": ["etasim.config.load_architecture", "etasim.workload.load_network"],
    "Simulations": ["etasim.report.simulated.simulate", "etasim.report.progress.progress"],
    "What lies in folders": ["etasim.explore.session.read", "etasim.explore.session.compare"],
    "Design spaces": ["etasim.explore.session.explore", "etasim.explore.sweeps.sweep"],
}
CLASSES = [
    "etasim.report.simulated.Result", "etasim.report.session.InSession", "etasim.machine.result.TypedRow", "etasim.machine.result.LayerRow",
    "etasim.explore.session.Exploration", "etasim.config.errors.InputError", "etasim.config.errors.Problem",
    "etasim.core.errors.InfeasibleError", "etasim.core.errors.Reason",
]  # fmt: skip


def commands_page() -> str:
    """The help of every command."""
    parts = ["# Commands", "Written from the code: what `etasim COMMAND --help` prints."]
    context = click.Context(main, info_name="etasim", terminal_width=100)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        for below, each in inner.items():
            title = f"{name} {below}".strip()
            own = click.Context(each, info_name=f"etasim {title}", terminal_width=100)
            parts += [f"## {title}", f"```text\n{each.get_help(own)}\n```"]
    return "\n\n".join(parts) + "\n"


def interface_page() -> str:
    """The public functions and classes with their docstrings."""
    parts = ["# Python interface", "Written from the code. What a session looks like: [session.md](../session.md)."]
    for title, names in PUBLIC.items():
        blocks = "\n\n".join(f".. autofunction:: {name}" for name in names)
        parts += [f"## {title}", f"```{{eval-rst}}\n{blocks}\n```"]
    blocks = "\n\n".join(f".. autoclass:: {name}\n   :members:\n   :show-inheritance:" for name in CLASSES)
    parts += ["## Results and errors", f"```{{eval-rst}}\n{blocks}\n```"]
    return "\n\n".join(parts) + "\n"


def notebook_page(path: Path) -> str:
    """The cells of a notebook, which is kept without outputs."""
    note = f"This is `docs/notebooks/{path.name}`; a test runs it. Opened in Jupyter, it shows its tables and pictures."
    title, *cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    parts = [text if cell["cell_type"] == "markdown" else f"```ipython3\n{text}\n```" for cell, text in zip(cells, texts, strict=True)]
    return "\n\n".join(["".join(title["source"]), note, *parts]) + "\n"


def write_generated(_app: object) -> None:
    """Write the pages that come from the code and from notebooks, where they differ from what is there."""
    GENERATED.mkdir(exist_ok=True)
    notebooks = {f"notebook_{path.stem}.md": notebook_page(path) for path in sorted((GENERATED.parent / "notebooks").glob("*.ipynb"))}
    for name, text in {"commands.md": commands_page(), "interface.md": interface_page(), **notebooks}.items():
        path = GENERATED / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


BESIDE_THE_SITE = {"](../README.md)": "](index.md)", "](../../README.md)": "](../index.md)", "](decisions/)": "](index.md)"}
"""Links of the repository to what is no page of the site."""


def on_the_site(_app: object, _page: str, source: list[str]) -> None:
    """Such links lead to the first page, whose contents list the decisions."""
    for link, other in BESIDE_THE_SITE.items():
        source[0] = source[0].replace(link, other)


def setup(app) -> None:  # type: ignore[no-untyped-def]  # Sphinx's
    """What Sphinx calls."""
    app.connect("builder-inited", write_generated)
    app.connect("source-read", on_the_site)
    app.add_lexer("mermaid", TextLexer)
