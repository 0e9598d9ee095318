"""Values of options that are written as NAME=VALUE."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dtc.errors import UsageError


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE words as a dict.

    Raises:
        UsageError: A word is not of that form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        # From the left: a value may hold "=", a name may not.
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {word}: write it as NAME=VALUE")
        if name in found:
            raise UsageError(f"{option} {word}: {name} is given twice")
        found[name] = value
    return found


def fixed_inputs(words: Sequence[str]) -> dict[str, npt.NDArray[np.generic]]:
    """Return NAME=VALUE words as arrays; a value is a number or a JSON list of numbers.

    Raises:
        UsageError: A value is no number.
    """
    arrays = {}
    for name, value in pairs(words, "--input").items():
        try:
            # JSON and not `eval`: nothing of a command line is executed. Lists of unequal lengths are a ValueError of
            # NumPy.
            array = np.asarray(json.loads(value))
        except (json.JSONDecodeError, ValueError) as error:
            raise UsageError(f"--input {name}={value}: write a number or a JSON list of numbers") from error
        if array.dtype.kind not in "iufb":
            raise UsageError(f"--input {name}={value}: write a number or a JSON list of numbers")
        arrays[name] = array
    return arrays
