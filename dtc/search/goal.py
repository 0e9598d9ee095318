"""What a search is to reach: a file as small as may be within a loss, or one that loses least within a size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dtc.errors import UsageError
from dtc.formatting import size


@dataclass(frozen=True)
class Goal:
    """Exactly one limit.

    Attributes:
        max_drop: Largest allowed loss of the metric, in its own unit; without labels, of agreement, or the relative L2
            of the outputs.
        relative: Whether `max_drop` is a share of the original's metric.
        target_bytes: Most bytes of the file.
        target_ratio: Least ratio of the model's bytes to the file's.
        max_latency_ratio: Most time of a run, as a share of the original's.
    """

    max_drop: float | None = None
    relative: bool = False
    target_bytes: int | None = None
    target_ratio: float | None = None
    max_latency_ratio: float | None = None

    def __post_init__(self) -> None:
        limits = (self.max_drop, self.target_bytes, self.target_ratio, self.max_latency_ratio)
        told = [each for each in limits if each is not None]
        if len(told) != 1:
            raise UsageError(
                "say what the search is to reach, by one of --max-drop 0.01, --target-size 500kB, --target-ratio 8 "
                "and --max-latency-ratio 0.7"
            )

    def limit_bytes(self, model: int) -> float:
        """Return the most bytes that the file of a model of so many bytes may have; infinite without such a limit."""
        if self.target_ratio is not None:
            return model / self.target_ratio
        return float("inf") if self.target_bytes is None else float(self.target_bytes)

    @property
    def is_timed(self) -> bool:
        """Whether the time of a run is limited."""
        return self.max_latency_ratio is not None

    def cost(self, nbytes: float, latency: float | None) -> float:
        """Return what a file has of what is limited, or to be least: time as a share of the original's, or bytes."""
        return latency if self.is_timed and latency is not None else nbytes

    def limit_cost(self, model: int) -> float:
        """Return the most that a file may have of that; infinite where the loss is limited."""
        return self.limit_bytes(model) if self.max_latency_ratio is None else self.max_latency_ratio

    @property
    def limit_drop(self) -> float:
        """The most that the metric may lose; infinite without such a limit."""
        return float("inf") if self.max_drop is None else self.max_drop

    def counted(self, facts: Mapping[str, Any]) -> tuple[float, float]:
        """Return the loss of the metric that an evaluation found, and its standard error, in the unit of the limit."""
        if self.relative and facts["before"]:
            return facts["drop"] / abs(facts["before"]), facts["share_error"]
        return facts["drop"], facts["drop_error"]

    def loss_words(self, drop: float) -> str:
        """Return a loss in that unit in words."""
        return f"{drop:.2%}" if self.relative else f"{drop:.4g}"

    def error_words(self, error: float) -> str:
        """Return a standard error in that unit in words."""
        if error == float("inf"):
            return "unknown"
        return f"{error:.2%}" if self.relative else f"{error:.2g}"

    def misses(self, nbytes: int, drop: float, error: float, latency: float | None, model: int) -> str | None:
        """Return in words by what a file misses the goal; None if it reaches it.

        `error` is what the drop may be larger by, as some samples alone have told it.
        """
        if not drop + error <= self.limit_drop:
            told = f"{self.loss_words(drop)}, uncertain by {self.error_words(error)},"
            more = "; more samples tell it closer (--eval-data, --held-out)" if drop <= self.limit_drop else ""
            return f"loses {told} on unseen samples, {self.loss_words(self.limit_drop)} allowed{more}"
        if nbytes > self.limit_bytes(model):
            return f"has {size(nbytes)}, {size(self.limit_bytes(model))} allowed"
        if self.max_latency_ratio is not None and latency is not None and latency > self.max_latency_ratio:
            return f"takes {latency:.2f} of the original's time, {self.max_latency_ratio:g} allowed"
        return None
