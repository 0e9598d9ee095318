"""Compressed sites run alone: `regions` finds where, `drawing` what enters, `excerpt` runs, `check` compares."""

from dtc.checking.sites.check import Limit, SiteChecks, SitesCheck, Subject
from dtc.checking.sites.regions import Regions, find_regions
from dtc.checking.sites.twins import on_file

__all__ = ["Limit", "Regions", "SiteChecks", "SitesCheck", "Subject", "find_regions", "on_file"]
