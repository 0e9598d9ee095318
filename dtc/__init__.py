"""dtc compresses an ONNX model into an ONNX model.

What the command line does, as functions: `compress`, `resume`, `inspect_model`, `check`, `bench`, and `session`, an
ONNX Runtime session of a compressed model.
"""

from dtc.checking import CheckOptions, bench, check
from dtc.inspection import inspect_model
from dtc.job import Job
from dtc.pipeline import Compression, compress, resume
from dtc.recipe import Recipe, Rule
from dtc.session import session

__all__ = [
    "CheckOptions",
    "Compression",
    "Job",
    "Recipe",
    "Rule",
    "bench",
    "check",
    "compress",
    "inspect_model",
    "resume",
    "session",
]
