"""The worker process of every engine: `python -m dtc.training RUN [SESSION [ASSIGNMENT]]`.

`dtc.training.engine_kind` starts it with the engine's own packages first on the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dtc.late_imports import LateImports

if __name__ == "__main__":
    LateImports().install()
    from dtc.training.work import Assignment
    from dtc.training.worker import main

    run, session, told = (*sys.argv[1:4], "", "{}")[:3]
    sys.exit(main(Path(run), session, assignment=Assignment.from_json(told)))
