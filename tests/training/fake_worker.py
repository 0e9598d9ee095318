"""A worker process like that of an engine, around the fake one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fake_engine import Accuracy, FakeEngine, FakePlan

from dtc.errors import EngineError
from dtc.training.work import Tools
from dtc.training.worker import main


def make_engine(model, recipe, teacher):
    if "FAKE_ERROR" in os.environ:
        raise {"engine": EngineError, "bug": ValueError}[os.environ["FAKE_ERROR"]]("the fake engine is broken")
    return FakeEngine(model, pause=float(os.environ.get("FAKE_PAUSE", "0")))


if __name__ == "__main__":
    tools = Tools(make_engine, lambda *_: FakePlan(), lambda name: Accuracy())
    sys.exit(main(Path(sys.argv[1]), "".join(sys.argv[2:3]), tools))
