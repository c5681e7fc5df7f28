"""zoo verify: repeat the parity check on what is on disk."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands import add_json, add_modules, add_repository, print_json, registry
from zoo.errors import UsageError, ZooError

if TYPE_CHECKING:
    from zoo.verify import Report

SUMMARY = "check published models, or any ONNX file with test vectors, against Keras's answers"
EXAMPLE = "zoo verify cnn_digits lstm_sunspots"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="MODEL|FILE.onnx",
        help="default: every published model; beside a FILE.onnx stand test_data_set_N folders",
    )
    add_modules(parser)
    add_repository(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Verify each target and print one line a runtime; exit 1 if anything disagrees."""
    from zoo.check import Checked, check_file, check_published, published_models

    targets = options.targets or published_models(options.repository)
    if not targets:
        raise UsageError(f"{options.repository} holds no model: run `zoo export` first")
    known = registry(options)
    results: list[Checked] = []
    failures: dict[str, str] = {}
    for target in targets:
        try:
            if target.endswith(".onnx"):
                results.append(check_file(Path(target)))
            else:
                results += check_published(options.repository, target, known)
        except ZooError as error:
            failures[target] = str(error)
    if options.json:
        print_json(
            [_json(result) for result in results]
            + [{"model": k, "error": v} for k, v in failures.items()]
        )
    else:
        _print(results, failures)
    return 0 if not failures and all(result.report.ok for result in results) else 1


def _json(result: Any) -> dict[str, Any]:
    return {
        "model": result.name,
        "ok": result.report.ok,
        "runtimes": result.versions,
        "skipped": result.skipped,
        "comparisons": result.report.to_json(),
    }


def _print(results: list[Any], failures: dict[str, str]) -> None:
    from zoo.table import text_table

    rows = []
    for result in results:
        for runtime, version in result.versions.items():
            rows.append(_row(result.name, f"{runtime} {version}", runtime, result.report))
        rows += [[result.name, name, "", "", "skipped: not installed"] for name in result.skipped]
    rows += [[name, "", "", "", f"FAILED: {reason}"] for name, reason in failures.items()]
    header = ("model", "runtime", "compared", "largest difference", "result")
    print(text_table(header, rows, right="llrrl"))


def _row(name: str, title: str, runtime: str, report: Report) -> list[str]:
    mine = [row for row in report.comparisons if row.runtime == runtime]
    failed = [row for row in mine if not row.ok]
    verdict = f"FAILED: {failed[0].case}: {failed[0].reason}" if failed else "ok"
    largest = max((row.max_abs for row in mine), default=0.0)
    return [name, title, str(len(mine)), f"{largest:.1e}", verdict]
