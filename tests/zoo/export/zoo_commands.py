"""What a command of the zoo imports, and the names of the models that the tests train."""

import subprocess
import sys
from pathlib import Path

from zoo.recipes.registry import Registry

ZOO = Path(sys.executable).with_name("zoo")

KNOWN = Registry.default()

#: Those whose data is in a package.
MODELS = [name for name in KNOWN.names() if KNOWN.get(name).dataset.home is None]

#: Runs a command in this Python and says which frameworks it imported.
IMPORTS = """
import sys
from zoo.cli import main
status = main(sys.argv[1:])
loaded = [name for name in ("tensorflow", "keras", "tf2onnx", "onnx") if name in sys.modules]
print("imported:", *loaded)
sys.exit(status)
"""


def command_imports(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", IMPORTS, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


PORTABLE = {"bilstm_sunspots", "gru_sunspots", "lstm_sunspots", "lstm_sunspots_sequence"}
