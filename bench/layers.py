"""Every case of the layer atlas with the zoo's exporter, Keras's own export and plain tf2onnx.

    python -m bench.layers --markdown docs/layers.md       all of them, about 30 minutes
    python -m bench.layers --only '^LSTM'

Each exporter runs in a process of its own, since a file can abort onnxruntime. `zoo layers` measures
the zoo's exporter alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.peers import PEERS
from zoo.atlas.case import Outcome
from zoo.atlas.isolated import COMMAND, measure_isolated
from zoo.atlas.page import delta, page
from zoo.commands.layers import matching
from zoo.errors import UsageError
from zoo.table import text_table

OURS = "ours"


def main() -> int:
    """Measure, print one line a case, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="PATTERN", default="", help="only cases that match")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the page")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write the outcomes")
    options = parser.parse_args()
    try:
        names = [case.name for case in matching(options.only)]
    except UsageError as error:
        parser.error(str(error))
    commands = {name: (sys.executable, "-m", "bench.peers", name) for name in PEERS}
    columns: dict[str, list[Outcome]] = {}
    for exporter, command in {OURS: COMMAND, **commands}.items():
        columns[exporter] = list(measure_isolated(names, command))
        print(f"{exporter}: {sum(o.status == 'ok' for o in columns[exporter])} of {len(names)}")
    ours = columns.pop(OURS)
    rows = [
        [item.name, item.status, str(item.nodes or ""), delta(item)]
        + [column[i].status for column in columns.values()]
        for i, item in enumerate(ours)
    ]
    header = ("case", OURS, "nodes", "largest Δ", *columns)
    print(text_table(header, rows, right="llrr" + "l" * len(columns)))
    if options.markdown:
        command_line = "python -m bench.layers --markdown docs/layers.md"
        options.markdown.write_text(page(ours, columns, command_line))
    if options.json:
        values = {OURS: ours, **columns}
        records = {name: [item.to_json() for item in column] for name, column in values.items()}
        options.json.write_text(json.dumps(records, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
