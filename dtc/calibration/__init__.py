"""Measurements of a model on samples, without training: second moments, ranges, and the loss by other weights."""

from dtc.calibration.activations import fit_activations
from dtc.calibration.batch_norm import choose_statistics, measure_statistics
from dtc.calibration.moments import Calibration
from dtc.calibration.probe import make_probe

__all__ = ["Calibration", "choose_statistics", "fit_activations", "make_probe", "measure_statistics"]
