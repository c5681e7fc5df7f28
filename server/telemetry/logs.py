"""How the server logs: one event a line, on standard error."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def configure(level: str) -> None:
    """Send the server's log to standard error; called once, by the program and never by a library."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
    root = logging.getLogger("server")
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False
