"""A page of a bundle in a headless browser: served on this machine alone, until it tells what it found."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue

from dtc.deploy.programs import TIME_LIMIT, ProgramError

_QUIET = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
"""Without a window, as any user, on any graphics card, and without a word to anybody."""


def found_by_page(browser: str, folder: Path, profile: Path, seconds: float) -> str:
    """Open the page of a bundle in a browser and return what it tells, as JSON.

    Raises:
        ProgramError: The page fails, or tells nothing.
    """
    told: Queue[str] = Queue()
    with _served(folder, told) as port:
        page = f"http://127.0.0.1:{port}/index.html?tell&seconds={seconds:g}"
        running = subprocess.Popen(
            [browser, *_QUIET, f"--user-data-dir={profile}", page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            found = told.get(timeout=TIME_LIMIT / 5)
        except Empty as error:
            raise ProgramError("the page told nothing; open it in a browser to see why") from error
        finally:
            running.terminate()
            running.wait()
    if "error" in json.loads(found):
        raise ProgramError(json.loads(found)["error"])
    return found


@contextmanager
def _served(folder: Path, told: Queue[str]) -> Iterator[int]:
    """Serve a folder, and take what is posted; gives the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, told, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, in silence, and takes what the page found."""

    def __init__(self, told: Queue[str], *arguments: object, directory: str) -> None:
        self._told = told
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        """Take in what was found."""
        length = int(self.headers.get("Content-Length", 0))
        self._told.put(self.rfile.read(length).decode(errors="replace"))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""
