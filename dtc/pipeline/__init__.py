"""Compression from file to file: one parcel of work that goes through a list of stages, each of one verb."""

from dtc.pipeline.compression import Compression, compress, resume
from dtc.pipeline.estimating import Estimate, estimate
from dtc.pipeline.work import Work

__all__ = ["Compression", "Estimate", "Work", "compress", "estimate", "resume"]
