"""Programs that a bundle is built and run with: finding them, running them, and what they tell.

Whatever language it is written in, a bundle's program compares the outputs with the test vectors, measures, and writes
what it found to the standard output, as one line of JSON: the fields of `ProgramReport`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from dtc.document import DocumentPart, Real

TIME_LIMIT = 600.0
"""Seconds for one program; an emulated one takes a hundred times as long as others."""


class MissingError(Exception):
    """A program or package is not on this machine; the message names it, and what to install."""


class ProgramError(Exception):
    """A program failed; the message is its last words."""


class ProgramReport(DocumentPart):
    """What a bundle's program found.

    Attributes:
        runtime: What the model ran in, with its version.
        relative_l2: Distance of the outputs from those of the test vectors, the largest of any output; NaN where one is
            not finite, or has another shape.
        load: Seconds from the file to a model that can run.
        latency: Seconds of a run on the first test vector, the median; None where it was not measured.
        memory: Bytes that loading and running took; None where that cannot be told.
    """

    runtime: str
    relative_l2: Real
    load: float | None = None
    latency: float | None = None
    memory: int | None = None


def require_program(names: Sequence[str], package: str) -> str:
    """Return the path of the first of several programs that is there.

    Raises:
        MissingError: None is.
    """
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    raise MissingError(f"{names[0]} is missing: {package}")


def run_program(
    command: Sequence[str | Path],
    folder: Path,
    *,
    also: Mapping[str, str] | None = None,
    fine: Collection[int] = (0,),
    limit: float = TIME_LIMIT,
) -> str:
    """Run a program in a folder and return its standard output; `also` goes into its environment.

    Raises:
        ProgramError: It ended with a status that is not `fine`, or took longer than `limit` seconds.
    """
    words = list(map(str, command))
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            env=os.environ | dict(also or {}),
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(f"{Path(words[0]).name} took longer than {limit:.0f} s") from error
    except OSError as error:
        raise ProgramError(f"{words[0]}: {error.strerror}") from error
    if done.returncode not in fine:
        told = [*done.stdout.strip().splitlines()[-3:], *done.stderr.strip().splitlines()[-3:]]
        reason = " ".join(" ".join(told).split())[-400:] or "without a word"
        raise ProgramError(f"{Path(words[0]).name} ended with status {done.returncode}: {reason}")
    return done.stdout


def run_reporting(
    command: Sequence[str | Path], folder: Path, *, also: Mapping[str, str] | None = None
) -> ProgramReport:
    """Run a bundle's program and return what it found; status 1 says that an output is too far off.

    Raises:
        ProgramError: It failed, or told something else.
    """
    return read_report(run_program(command, folder, also=also, fine=(0, 1)))


def read_report(output: str) -> ProgramReport:
    """Return what a program found, from the last line of its output.

    Raises:
        ProgramError: That is something else.
    """
    last = (output.strip().splitlines() or ["nothing"])[-1]
    try:
        return ProgramReport.model_validate_json(last)
    except ValidationError as error:
        raise ProgramError(f"the program told something else than its findings: {last[:200]}") from error
