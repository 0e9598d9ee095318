"""The recordings of the Free Spoken Digits and how they are split."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dtc.errors import DataError
from dtc.forms import Array
from dtc.models.datasets.batches import Ids, Split

RECORDINGS = "fsdd_8khz.npz"
"""Their file in the data folder."""

Part: TypeAlias = Split | Literal["test"]


@dataclass(frozen=True)
class Recordings:
    """Clips of one digit each: samples in -1..1 at 8 kHz, the digits and who speaks them, `[clips]`."""

    clips: tuple[Array, ...]
    digits: Ids
    speakers: npt.NDArray[np.bytes_]


@cache
def read_recordings(path: Path, part: Part) -> Recordings:
    """Return the clips of a part of a file.

    Of the fifty takes of each digit by each speaker the first five are the test set, as is usual, and the next five the
    evaluation split.

    Raises:
        DataError: The file is damaged.
    """
    names = ("samples", "offsets", "label", "speaker", "index")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            samples, offsets, digits, speakers, takes = (archive[name] for name in names)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not spoken digits as .npz with {', '.join(names)} ({error})") from error
    wanted = {"test": takes < 5, "evaluate": (takes >= 5) & (takes < 10), "train": takes >= 10}[part]
    chosen = np.flatnonzero(wanted)
    clips = tuple(samples[offsets[i] : offsets[i + 1]].astype(np.float32) / 2**15 for i in chosen)
    return Recordings(clips, digits[chosen].astype(np.int64), speakers[chosen])
