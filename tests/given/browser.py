"""A page of etasim in a real browser: Chromium of the system, driven by playwright."""

import importlib.util
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(os.environ.get("AXE_CORE", Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"))
"""The checker of accessibility: `npm install axe-core` puts it there."""
LACKING = ", ".join(
    name for name, found in (
        ("chromium", CHROMIUM), ("axe-core", AXE.exists()),
        *((package, importlib.util.find_spec(package)) for package in ("playwright", "vl_convert")),
    ) if not found
)  # fmt: skip
"""What the tests in a browser need and is not there."""
DESKTOP, PHONE, SMALL_PHONE = (1400, 900), (390, 844), (360, 740)


@contextmanager
def browser():
    """Chromium, for as long as the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(chromium, address, size=DESKTOP, **options):
    """The page at ``address`` (a file or a URL), its charts drawn. Whatever the console says, an error of the page, or a request for
    anything else fails."""
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    said, address = [], address.as_uri() if isinstance(address, Path) else address
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith((address, "blob:", "data:")) else None)
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    context.close()
    assert not said, said


def until(page, condition):
    """Wait until ``condition()``; what the page is asked for that way would be code to it, which it does not run."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("not within ten seconds")


def is_cut(page):
    """Whether something is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def violations(page):
    """What axe-core finds that is serious or critical: rule and elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found if each["impact"] in ("serious", "critical")]


def tooltip(page):
    """What hovering over a mark of a chart shows, by name."""
    page.wait_for_selector("#vg-tooltip-element.visible")
    cells = page.locator("#vg-tooltip-element td").all_inner_texts()
    return dict(zip((name.rstrip(":") for name in cells[::2]), cells[1::2], strict=True))
