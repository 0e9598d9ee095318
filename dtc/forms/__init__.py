"""Compressed forms: NumPy only, no graph, no runtime."""

from dtc.forms.base import Array, Form, Parts, bits_per_weight, stored_bytes
from dtc.forms.codebook import Codebook
from dtc.forms.codewords import Codewords, Grid
from dtc.forms.low_rank import LowRank

__all__ = ["Array", "Codebook", "Codewords", "Form", "Grid", "LowRank", "Parts", "bits_per_weight", "stored_bytes"]
