"""A figure of matplotlib as an element of a page, which gives it its font and its neutral colours.

The page defines the CSS variables --ink, --muted, --line and --paper.
"""

import io
import re
import warnings
from html import escape

import matplotlib as mpl
from matplotlib.figure import Figure

DOTS = 72  # pixels in an inch: SVG counts points
INK, MUTED, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)"}


def as_svg(figure: Figure, name: str, alternative: str) -> str:
    """The figure as an element to stand in HTML; ids start with ``name``, so that they differ between plots."""
    buffer = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's fonts draw it
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", drawn, flags=re.DOTALL)
    body = body[body.index("<g ") :]
    referred = set(re.findall(r"(?:url\(|xlink:href=\")#([\w.-]+)", body))
    prefix = re.sub(r"\W+", "-", name)
    body = re.sub(r"<[^>]*>", lambda tag: _adapted(tag[0], prefix, referred), body)
    body = re.sub(r"<g/>|\n(?=\s*<)|(?<=>)\n", "", body)
    width, height = figure.get_size_inches() * DOTS
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(alternative)}">{body}'


def _adapted(tag: str, prefix: str, referred: set[str]) -> str:
    """A tag of matplotlib's with the page's font and colours, and only the ids that something refers to."""
    tag = re.sub(r' id="([^"]*)"', lambda name: f' id="{prefix}-{name[1]}"' if name[1] in referred else "", tag)
    tag = tag.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    tag = re.sub(r" font-family: [^;]*;|", "", tag)
    for colour, variable in VARIABLES.items():
        tag = tag.replace(colour, variable)
    return tag
