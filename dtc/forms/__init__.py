"""Compressed forms: NumPy only, no graph, no runtime."""

from dtc.forms.base import AnyArray, Array, Form, Parts, bits_per_weight, scaled, stacked, stored_bytes
from dtc.forms.binary import BinaryCode
from dtc.forms.codebook import Codebook
from dtc.forms.codewords import Codewords, Grid
from dtc.forms.halves import fits_float16, halved
from dtc.forms.low_rank import LowRank
from dtc.forms.registry import pack_form, unpack_form

__all__ = [
    "AnyArray",
    "Array",
    "BinaryCode",
    "Codebook",
    "Codewords",
    "Form",
    "Grid",
    "LowRank",
    "Parts",
    "bits_per_weight",
    "fits_float16",
    "halved",
    "pack_form",
    "scaled",
    "stacked",
    "stored_bytes",
    "unpack_form",
]
