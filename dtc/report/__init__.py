"""The report of a compression: what was done to each site, what it cost, and how the retraining went."""

from dtc.report.comparison import facts_table, side_by_side
from dtc.report.document import SCHEMA, Report
from dtc.report.files import HTML, JSON, read_report, write_report
from dtc.report.page import page
from dtc.report.unfinished import report_unfinished

__all__ = [
    "HTML",
    "JSON",
    "SCHEMA",
    "Report",
    "facts_table",
    "page",
    "read_report",
    "report_unfinished",
    "side_by_side",
    "write_report",
]
