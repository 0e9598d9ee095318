"""What a compression without training tells while it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageBegan:
    """A stage of the compression began.

    Attributes:
        words: What it is called.
    """

    words: str


@dataclass(frozen=True)
class ModelProbed:
    """The model was run with other weights, which a method asks for many times.

    Attributes:
        done: How often by now.
        of: How often at the most; 0: that is not known.
    """

    done: int
    of: int


@dataclass(frozen=True)
class SiteDone:
    """A site was distorted.

    Attributes:
        site: Its name.
        done: How many are by now.
        of: How many will be.
        bytes_done: What their weights take in the model.
        bytes_of: What those of all take.
    """

    site: str
    done: int
    of: int
    bytes_done: int
    bytes_of: int
