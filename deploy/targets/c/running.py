"""Running a bundle: on the host, and on microcontrollers in an emulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dtc.deploy.programs import ProgramReport, require_program, run_program, run_reporting
from dtc.deploy.target import BundleRun, Place

_PROCESSORS = ("m4", "m7")
"""What the Makefile has emulators for."""


def ways() -> Sequence[BundleRun]:
    """Return the ways in which a bundle runs, the host's first."""
    return [
        BundleRun("C", _host),
        *(BundleRun(f"Cortex-{each.upper()}", partial(_emulated, each), timed=False) for each in _PROCESSORS),
    ]


def _host(place: Place) -> Callable[[], ProgramReport]:
    compiler = require_program(["gcc", "clang", "cc"], "apt install gcc make")
    make = require_program(["make"], "apt install make")
    run_program([make, "host", f"CC={compiler}"], place.folder)
    return partial(run_reporting, ["build/host", f"{place.seconds:g}"], place.folder)


def _emulated(processor: str, place: Place) -> Callable[[], ProgramReport]:
    make = require_program(["make"], "apt install make")
    require_program(["arm-none-eabi-gcc"], "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi")
    require_program(["qemu-system-arm"], "apt install qemu-system-arm")
    # What measures nothing is in a hurry, and an emulated run takes a hundred times as long as others.
    cases = [] if place.seconds else ["CASES=1"]
    run_program([make, processor, *cases], place.folder)
    return partial(run_reporting, [make, "-s", f"run-{processor}"], place.folder)
