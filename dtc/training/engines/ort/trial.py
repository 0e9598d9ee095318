"""Trials of gradients in a process of their own: a gradient that cannot be built or run may abort the process.

A process does all trials of the one that started it, one after the other; it speaks pickle over its standard streams.
It ends when nothing was asked for a while, because a training that follows goes on for long without it.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Any

import onnx
import onnx_ir as ir

from dtc.errors import EngineError
from dtc.training.engines.ort.gradient import GradientPlan, build_training_graph
from dtc.training.engines.ort.runtime import open_session, serialize

_CRASHES = frozenset({signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL})

_PATIENCE = 20.0
"""Seconds without a question."""


@dataclass(frozen=True)
class Failure:
    """The failure of a trial: its message, and `crashed` if the process died."""

    message: str
    crashed: bool = False


class Trials:
    """Trials of one model."""

    def __init__(self, base: ir.Model) -> None:
        self._base = serialize(base)
        self._served_by: _Helper | None = None

    def run(self, plan: GradientPlan) -> Failure | None:
        """Build the training graph of `plan` and open a session of it; return the failure, None if all went well.

        Raises:
            EngineError: What the rewriting of the graph refuses; names the node.
        """
        helper = _Helper.current()
        # A helper keeps the model of the last question; one that was started anew has none.
        base = None if helper is self._served_by else self._base
        self._served_by = helper
        answer = helper.ask((base, plan))
        if isinstance(answer, EngineError):
            raise answer
        assert answer is None or isinstance(answer, Failure)
        return answer


_SCRIPT = f"from dtc.late_imports import LateImports; LateImports().install(); from {__name__} import main; main()"


class _Helper:
    """The process of the trials; started with the first, and anew after each that aborts."""

    _running: _Helper | None = None

    def __init__(self) -> None:
        # The same interpreter with the same path, the training build first.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SCRIPT],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
        )

    @classmethod
    def current(cls) -> _Helper:
        """Return the running process, a new one where there is none."""
        # One that ended by its own patience is buried quietly. One that crashed was buried by the question that it
        # crashed over.
        if cls._running is not None and cls._running.has_ended():
            atexit.unregister(cls._running.close)
            cls._running.close()
        if cls._running is None:
            cls._running = cls()
            atexit.register(cls._running.close)
        return cls._running

    def has_ended(self) -> bool:
        """Return whether the process ended by itself, after waiting too long for a question."""
        return self._process.poll() == 0

    def ask(self, question: object) -> object:
        """Return the answer; a process that crashes over the question is a failure.

        Raises:
            EngineError: The process was killed, or could not be started.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, question)
            return pickle.load(self._process.stdout)  # noqa: S301 - from the process that this one started
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._buried()

    def close(self) -> None:
        """End the process."""
        if _Helper._running is self:
            _Helper._running = None
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except OSError:  # what was not yet written goes nowhere
                    continue
        self._process.wait()
        self._words.close()

    def _buried(self) -> Failure:
        atexit.unregister(self.close)
        status = self._process.wait()
        self._words.seek(0)
        words = self._words.read().decode(errors="replace").split()
        self.close()
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        what = f"{how} {' '.join(words)[-200:]}".strip()
        # Killed, as by the system where memory is short, is no word on the gradient.
        if -status not in _CRASHES:
            raise EngineError(f"the process that tries out gradients was ended ({what}); is there enough memory?")
        return Failure(what, crashed=True)


def _send(stream: IO[bytes], message: object) -> None:
    pickle.dump(message, stream)
    stream.flush()


def _try(base: ir.Model, plan: GradientPlan) -> Failure | EngineError | None:
    try:
        # Opening a session is enough: kernels are looked up then. One thread, as nothing is computed.
        open_session(build_training_graph(base, plan).model, 1)
    except EngineError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the runtime raises RuntimeError, NotImplemented, Fail, InvalidGraph
        return Failure(str(error))
    return None


def main() -> None:
    """Answer questions `(model, plan)` until the end of standard input; None means the model of the last question."""
    # Answers go to a copy of the old standard output. Number 1 itself leads to standard error from now on, also for
    # C++.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    base: Any = None
    while True:
        # A new timer for each question, stopped when one comes. `os._exit` ends the process though the main thread
        # waits in a read; status 0 tells this end from a crash.
        patience = threading.Timer(_PATIENCE, os._exit, (0,))
        patience.daemon = True
        patience.start()
        try:
            data, plan = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
        except EOFError:
            return
        finally:
            patience.cancel()
        if data is not None:
            base = ir.from_proto(onnx.load_from_string(data))
        _send(answers, _try(base, plan))
