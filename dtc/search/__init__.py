"""Which method at which rate each site shall have: sensitivity, exact allocation, measured points."""

from dtc.search.goal import Goal
from dtc.search.searching import Found, Request, search

__all__ = ["Found", "Goal", "Request", "search"]
