"""Thousands of damaged files through dtc: `python tests/fuzz/run.py [--count N] [--first N] [--name N] [--real F]`.

Each is inspected, compressed by a method for a target, checked, or whatever else takes such a file. What goes wrong is
printed with its name and number, and the status is 1 if anything did. What found something belongs into `kept.txt`,
which the tests run.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
from cases import Case, case, names, real_case
from trial import Ending, tried


@click.command()
@click.option("--count", default=5000, help="how many")
@click.option("--first", default=0, help="number of the first, to go on where another run ended")
@click.option("--name", "wanted", help="only what has this in its name")
@click.option("--real", type=click.Path(path_type=Path, exists=True), help="damage the models of this folder instead")
def run(count: int, first: int, wanted: str | None, real: Path | None) -> None:
    """Print what went wrong, and counts in the end."""
    begin, kinds, done, succeeded, largest = time.perf_counter(), Counter[str](), 0, 0, 0
    for told, made in _cases(count, first, wanted or "", real):
        ending = tried(made)
        done, succeeded, largest = done + 1, succeeded + ending.succeeded, max(largest, ending.resident)
        kinds.update(_kinds(ending))
        for each in ending.faults:
            print(f"{told}: {each}", flush=True)
        if done % 250 == 0:
            print(f"{done} of {count}, {dict(kinds)}, {time.perf_counter() - begin:.0f} s", flush=True)
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in ("tracebacks", "crashes", "hangs", "others"))
    print(f"{done} mutants, {succeeded} commands succeeded; {counts}; at most {largest >> 20} MB resident")
    sys.exit(1 if kinds.total() else 0)


def _cases(count: int, first: int, wanted: str, real: Path | None) -> Iterator[tuple[str, Case]]:
    if real is not None:
        files = [file for file in sorted(real.glob("*.onnx")) if wanted in file.name]
        for number in range(first, first + count):
            file = files[number % len(files)]
            yield f"{file.name} {number}", real_case(file, number)
        return
    known = [name for name in names() if wanted in name]
    for number in range(first, first + count):
        name = known[number % len(known)]
        yield f"{name} {number}", case(name, number)


def _kinds(ending: Ending) -> Iterator[str]:
    for fault in ending.faults:
        if ": traceback: " in fault:
            yield "tracebacks"
        elif "ended by signal" in fault:
            yield "crashes"
        elif "takes over" in fault:
            yield "hangs"
        else:
            yield "others"


if __name__ == "__main__":
    run()
