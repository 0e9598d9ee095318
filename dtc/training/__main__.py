"""The worker process of every engine: `python -m dtc.training RUN [SESSION [ASSIGNMENT]]`.

`dtc.training.engine_kind` starts it with the engine's own packages first on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dtc.training.work import Assignment
from dtc.training.worker import main

if __name__ == "__main__":
    run, session, told = (*sys.argv[1:4], "", "{}")[:3]
    sys.exit(main(Path(run), session, assignment=Assignment.from_json(told)))
