"""Writing values into parameters, permanently or for the duration of a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dtc.device_arrays import DeviceArray, copied, fill
from dtc.training.engine import Live


def assign(parameters: Live, values: Mapping[str, DeviceArray]) -> None:
    """Write values, wherever they lie, into the parameters of their names, in place.

    Values of other names are passed over: a site that is frozen is no parameter, and has its value from the start.
    """
    for name in values.keys() & parameters.keys():
        fill(parameters[name], values[name])


@contextmanager
def swapped(parameters: Live, values: Mapping[str, DeviceArray]) -> Iterator[None]:
    """Give parameters other values inside of the `with` block, and restore the old values after the block."""
    # Only what is replaced is copied, and arrays are written in place: the engine holds on to them.
    saved = {name: copied(parameters[name]) for name in values.keys() & parameters.keys()}
    try:
        assign(parameters, values)
        yield
    finally:
        assign(parameters, saved)
