"""Where samples come from: arrays on disk or a function, as batches that fit a model."""

from dtc.data.fit import check_fit, fitted
from dtc.data.functions import FunctionSource
from dtc.data.source import ArraySource, Batch, Source, Split, count_batches, hold_out, is_code, open_source, relocated

__all__ = [
    "ArraySource",
    "Batch",
    "FunctionSource",
    "Source",
    "Split",
    "check_fit",
    "count_batches",
    "fitted",
    "hold_out",
    "is_code",
    "open_source",
    "relocated",
]
