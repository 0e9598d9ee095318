"""Where samples come from: arrays on disk or a function, as batches that fit a model, and which are held out."""

from dtc.data.fit import check_fit, fitted, fixed_batch, unread_arrays
from dtc.data.functions import FunctionSource
from dtc.data.samples import Samples, hold_out
from dtc.data.source import ArraySource, Batch, Source, Split, count_batches, is_code, open_source, relocated

__all__ = [
    "ArraySource",
    "Batch",
    "FunctionSource",
    "Samples",
    "Source",
    "Split",
    "check_fit",
    "count_batches",
    "fitted",
    "fixed_batch",
    "hold_out",
    "is_code",
    "open_source",
    "relocated",
    "unread_arrays",
]
