"""What a run learns of a model from samples, without training: second moments, and the worth of other weights."""

from dtc.calibration.batch_norm import measure_statistics
from dtc.calibration.moments import Calibration
from dtc.calibration.probe import make_probe

__all__ = ["Calibration", "make_probe", "measure_statistics"]
