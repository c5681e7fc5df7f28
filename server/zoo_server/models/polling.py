"""Poll mode's thread: scans the repository at an interval, until it is stopped."""

import logging
import threading

from zoo_server.models.control import ModelControl

_LOG = logging.getLogger(__name__)


class Poller:
    """Calls ModelControl.poll at an interval, in a thread of its own."""

    def __init__(self, control: ModelControl, seconds: float) -> None:
        self._control = control
        self._seconds = seconds
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    def start(self) -> None:
        """Begin; the first look is one interval from now."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a load under way is not waited for."""
        self._leave.set()

    def _run(self) -> None:
        while not self._leave.wait(self._seconds):
            try:
                self._control.poll()
            except Exception:  # one bad look must not be the last
                _LOG.exception("polling the model repository failed")
