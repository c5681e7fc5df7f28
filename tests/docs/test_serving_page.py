"""docs/serving.md lists the server's options as they are."""

import argparse
import re
from pathlib import Path

from zoo_server.config import add_arguments, flag

PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")

#: Defaults that are written as words.
_WORDS = {"None": "none", "()": "none", "False": "off"}


def test_the_table_has_every_option_with_its_default() -> None:
    """The flags of the option table, in its order, and no others."""
    parser = argparse.ArgumentParser()
    add_arguments(parser, {})
    options = [
        (flag(name), _WORDS.get(str(value), str(value)))
        for name, value in vars(parser.parse_args([])).items()
    ]
    table = PAGE.split("## Options")[1]
    rows = re.findall(r"^\| `(--[\w-]+)` \| (\S+) \|", table, re.MULTILINE)

    assert len(rows) > 20
    assert rows == options
