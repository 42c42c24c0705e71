"""Explanations beside their evidence as one self-contained HTML page, for a person to read."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

METRICS = {
    "grounded-name-precision": "share of the names that are the item or something the user goes by",
    "attribute-precision": "share of the values that the item and everything named beside it have",
    "number-precision": "share of the numbers that the events bear out",
    "lm-written": "share that the language model worded",
    "fallback": "share that the template worded",
    "unexplained": "share of the listed items without an explanation",
    "usr": "different texts among all",
    "usr-wording": "different texts among all, names and values left out",
    "div": "values that two texts have in common; lower is more varied",
    "fcr": "share of the catalog's values that occur",
    "faithful": "share of the cited items without which the score is lower",
    "user-specific": "share of items explained otherwise to another user with other evidence",
}


def render_page(report: dict[str, Any], shown: Sequence[dict[str, Any]]) -> str:
    """The page. report: with ``meta`` and ``rows``; shown: each with user, text, written_by and evidence."""
    environment = Environment(
        loader=PackageLoader("agent", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = report["rows"]
    systems = list(dict.fromkeys(row["system"] for row in rows))
    figures = {(row["metric"], row["system"]): row for row in rows}
    return environment.get_template("explained.html.jinja").render(
        meta=report["meta"], data=rows[0]["data"], systems=systems, metrics=METRICS, figures=figures, shown=shown
    )
