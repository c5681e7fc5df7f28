"""docs/configuration.md is what its script writes from the server's own tables."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs/reference.py"


def test_the_page_is_what_the_script_writes() -> None:
    """An option or a field of ModelConfig that is added changes the page; one without words ends the script."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
