"""Every error a user can meet, with the exit status the command line gives it.

A message is one clear line: it names the file, node or option, says what is wrong, and what to do.
"""

from __future__ import annotations

from pathlib import Path


def one_line(error: BaseException, most: int = 300) -> str:
    """Return the first `most` letters of an error's message on one line; without a message the name of its class."""
    return " ".join(str(error).split())[:most] or type(error).__name__


class DtcError(Exception):
    """Base of all errors that dtc raises on purpose; shown without a traceback."""

    exit_status = 2


class UsageError(DtcError):
    """An option or a combination of options makes no sense."""


class RuleError(UsageError):
    """A rule of a recipe is wrong; `path` leads to the place within the rule, `reason` is the message of a file."""

    def __init__(self, message: str, path: tuple[str | int, ...] = (), reason: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason or message

    def within(self, *outer: str | int) -> RuleError:
        """Return the same error with its path seen from further out."""
        return RuleError(str(self), (*outer, *self.path), self.reason)


class ModelError(DtcError):
    """A model file is missing, damaged, unsafe, or holds something dtc cannot work with."""


class DataError(DtcError):
    """A data set is missing, damaged, or does not fit the model."""


class RecipeError(DtcError):
    """A recipe is not valid."""


class EngineError(DtcError):
    """A training engine is missing, cannot be installed, or cannot train this model."""


class PartlyTrainedError(EngineError):
    """An engine cannot train all that is to be compressed, and was asked to decline then."""


class LibraryError(DtcError):
    """The native library of the operators is missing where it was said to be, or cannot be loaded."""


class TrainingError(DtcError):
    """Training went wrong (a loss that is not finite, a damaged checkpoint, a worker that died)."""

    exit_status = 1


class Interrupted(DtcError):  # noqa: N818 - not an error: the user asked for it
    """A run was stopped and can be resumed; `run` is its directory."""

    exit_status = 130

    def __init__(self, run: Path) -> None:
        super().__init__(f"{run}: interrupted; everything up to the last step is kept")
        self.run = run


class StageError(DtcError):
    """A stage of a compression left a model that ONNX's checker refuses: a mistake of dtc, or of a method."""

    exit_status = 1


class CheckFailedError(DtcError):
    """The candidate is not what it promises: it lost more than allowed, or computes something else."""

    exit_status = 1
