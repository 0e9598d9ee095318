"""The report as one self-contained HTML file: a pure function of the document."""

from __future__ import annotations

import base64
import hashlib

from dtc.report.document import Report
from dtc.report.facts_section import facts_section
from dtc.report.markup import join, tag
from dtc.report.outcome_section import headline, outcome_section
from dtc.report.picture import chart_style, resource
from dtc.report.search_section import search_section
from dtc.report.sites_section import sites_section, weights_section
from dtc.report.training_section import training_section


def page(report: Report) -> str:
    """Return the HTML page of a report.

    It loads nothing. Its policy lets a browser run our own script alone and apply our own style sheet alone, so that
    a name which slipped through the escaping would still be no more than text.
    """
    style, script = join(chart_style(), resource("page.css")), resource("page.js")
    # Scripts and styles are allowed by hash: an element or attribute that slipped in has another one, and is not run.
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{report.model.name}: compression report"),
        tag("style", style),
    )
    body = tag(
        "body",
        tag(
            "main",
            headline(report),
            outcome_section(report),
            search_section(report),
            training_section(report),
            sites_section(report),
            weights_section(report),
            facts_section(report),
        ),
        tag("script", script),
    )
    return "<!doctype html>\n" + tag("html", join(head, body), lang="en") + "\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
