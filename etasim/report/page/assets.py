"""What every page carries: our style and script, and the charting library, all from installed packages, so that a page needs no network."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from etasim.report.extras import need


def style() -> str:
    """The style sheet."""
    return _own("page.css")


def script() -> str:
    """Our script."""
    return _own("page.js")


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, bundled by vl-convert from what its wheel carries. Raises InputError without it."""
    need("vl_convert")
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def policy(scripts: list[str], connect: str = "'none'") -> str:
    """The content security policy of a page: it runs these ``scripts`` and no others, and reaches nothing but ``connect``."""
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; connect-src {connect}; base-uri 'none'"


def _own(name: str) -> str:
    return files("etasim.report.page").joinpath(name).read_text(encoding="utf-8")
