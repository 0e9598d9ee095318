"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is temporary is removed, a run can be resumed."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")


class Termination:
    """Turns the signals that ask a process to end into KeyboardInterrupt, once; `status` is 130, or 128 + the signal.

    A signal that the parent had ignored, as `nohup` does with SIGHUP, stays ignored.
    """

    def __init__(self) -> None:
        self.status = 130
        self._numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]

    def install(self) -> None:
        """Handle the signals from now on; the main thread alone can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._numbers:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._end)

    def _end(self, number: int, _: FrameType | None) -> None:
        self.status = 128 + number
        for each in self._numbers:  # what follows is the cleaning up, and shall not be cut short
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt
