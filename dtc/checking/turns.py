"""Sessions that take turns: of large models one is open at a time, of others as many as there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnxruntime as ort

from dtc.graph.signature import Arrays, TensorSpec
from dtc.session import Outputs, runner, signature

Opening: TypeAlias = Callable[[], ort.InferenceSession]
"""Opens a session; one and the same object stands for one and the same session."""

Run: TypeAlias = Callable[[Arrays], Outputs]

_BLOCK = 256_000_000
"""Bytes of outputs that are held while the other model's turn is awaited."""


class SessionTurns:
    """Opens sessions when they are needed, and closes those whose turn is over.

    Args:
        at_once: Whether all stay open; else the last one alone.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self._open: dict[Opening, tuple[ort.InferenceSession, Run]] = {}

    @property
    def block(self) -> int:
        """Bytes of one model's outputs after which it is the other one's turn; 0: after each."""
        return 0 if self.at_once else _BLOCK

    def signature(self, opening: Opening) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Return the inputs and the outputs of a session.

        Raises:
            ModelError: ONNX Runtime refuses the model.
        """
        return signature(self._of(opening)[0])

    def runner(self, opening: Opening) -> Run:
        """Return a function as `dtc.session.runner` does, which opens the session where it is not open."""
        return lambda feed: self._of(opening)[1](feed)

    def close(self) -> None:
        """Close all sessions; they are opened again when they are needed."""
        self._open.clear()

    def _of(self, opening: Opening) -> tuple[ort.InferenceSession, Run]:
        if opening not in self._open:
            if not self.at_once:
                self.close()
            running = opening()
            self._open[opening] = running, runner(running)
        return self._open[opening]
