"""The distortion of one site, here or in another process; its forms are left on disk."""

from dtc.distortion.error import relative_error
from dtc.distortion.task import DistortedSite, SiteTask, carry_out
from dtc.distortion.workers import SiteWorkers

__all__ = ["DistortedSite", "SiteTask", "SiteWorkers", "carry_out", "relative_error"]
