"""A search: every operator with sizes of zero, one, odd and large, each run in a process of its own.

What ends a process here would end the server, unless it stands in KNOWN: faults of onnxruntime's
that the data alone brings about, which docs/serving.md names. A new one is a reason to refuse it
(server/zoo_server/repository/graph_file.py).
"""

import json
import os
import signal
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from tests.server.backends.operator_cases import cases, run_once
from zoo_server.backends.onnxruntime.runtime import Runtime

#: A run may last so long; what lasts longer is not known to end.
_SECONDS = 20

#: What ends a process whatever its sizes are: the data does, and no check before the run sees it.
KNOWN = {"Div of the least integer by -1", "STFT, its length by none"}

CASES = cases()


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """Each process is a copy of this one, in which onnxruntime is loaded and has no thread."""
    Runtime(provider="cpu", threads=1)


def _ending(name, sizes):
    """Run a case in a copy of this process; return how it ended, and what it printed."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGFPE, signal.SIG_DFL)  # without the page that faulthandler writes
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        os.close(read)
        try:
            with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
                text = run_once(Path(folder), name, sizes)
            os.write(write, text.encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    ending = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ""
    return ending, text


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_no_size_ends_the_process(name):
    """An answer or an error, whatever the sizes."""
    assert sys.platform == "linux"
    endings = {
        json.dumps(sizes): ending
        for sizes in CASES[name].sizes()
        if (ending := _ending(name, sizes)[0])
    }

    if name in KNOWN:
        assert set(endings.values()) == {"SIGFPE"}
    else:
        assert endings == {}
