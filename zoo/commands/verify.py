"""zoo verify: repeat the parity check on files on disk, in this process or in other runtimes."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands import (
    add_compat,
    add_json,
    add_modules,
    add_repository,
    print_json,
    registry,
)
from zoo.errors import CheckFailed, UsageError, ZooError
from zoo.runtimes.catalogue import descriptions, select
from zoo.terminal.messages import say
from zoo.terminal.progress import CommandProgress
from zoo_server.malloc import heap

if TYPE_CHECKING:
    from zoo.parity.compare import Report
    from zoo.parity.prove import Proof
    from zoo.publish.verification import VerifiedFile

SUMMARY = "check published models, or any ONNX file with test vectors, against Keras's answers"
EXAMPLE = "zoo verify cnn_digits lstm_sunspots"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="MODEL|FILE.onnx",
        help="models or files to verify (default: every published model); a FILE.onnx needs "
        "test_data_set_N folders beside it",
    )
    add_modules(parser)
    add_repository(parser)
    add_json(parser)
    everywhere = parser.add_argument_group("in other runtimes")
    everywhere.add_argument(
        "--runtimes",
        metavar="all|NAME,...",
        help="run the models in these runtimes, each in an environment of its own, created on first "
        f"use: {', '.join(descriptions())}",
    )
    everywhere.add_argument(
        "--markdown", type=Path, metavar="FILE", help="also write the results to a Markdown page"
    )
    add_compat(everywhere)


def run(options: argparse.Namespace) -> int:
    """Verify each target and print the table; exit 1 if anything disagrees."""
    from zoo.publish.versions import export_command, published_models

    if options.runtimes is None and options.markdown is not None:
        raise UsageError("--markdown: only with --runtimes")
    names = select(options.runtimes) if options.runtimes is not None else None
    targets = options.targets or published_models(options.repository)
    if not targets:
        raise UsageError(
            f"{options.repository} holds no model: run {export_command(options.repository)} first"
        )
    files, failures = _files(options, targets)
    status = max((error.exit_status for error in failures.values()), default=0)
    if names is None:
        return max(status, _run_here(options, files, failures))
    for target, error in failures.items():
        say(f"{target}: {error}", failed=True)
    return max(status, _run_in(options, files, names)) if files else status


def _files(
    options: argparse.Namespace, targets: Sequence[str]
) -> tuple[list[VerifiedFile], dict[str, ZooError]]:
    """Return every file to verify, and why a target has none; one keeps no other back."""
    from zoo.publish.verification import file_with_vectors, published_files

    known = registry(options)
    files: list[VerifiedFile] = []
    failures: dict[str, ZooError] = {}
    for target in targets:
        try:
            if target.endswith(".onnx"):
                files.append(file_with_vectors(Path(target)))
            else:
                files += published_files(options.repository, target, known)
        except ZooError as error:
            failures[target] = error
    return files, failures


def _run_in(
    options: argparse.Namespace, files: Sequence[VerifiedFile], runtimes: Sequence[str]
) -> int:
    """Measure in the named runtimes, keep and print the results.

    Exit 1 if a runtime answers otherwise than Keras, if one of those that guard publication
    refuses a file, or if nothing could be measured. Another runtime's refusal is its own limit.
    """
    from zoo.files import atomic_write
    from zoo.runtimes.measure import measure_all
    from zoo.runtimes.page import page, terminal
    from zoo.runtimes.record import faults
    from zoo.runtimes.results import save_record

    with CommandProgress(len(runtimes), "runtimes") as overall:
        measured, skipped = measure_all(
            files, runtimes, options.compat, say=say, started=overall.at
        )
    if len(skipped) == len(runtimes):
        raise CheckFailed("none of these runtimes can be had here, and nothing was measured")
    whole = measured
    published = [file.sha256 for file in files if file.is_published]
    if published:
        kept = save_record(measured.only(published), options.compat, options.repository, say=say)
        whole = measured.merged(kept)
    if options.json:
        print_json(measured.to_json() | {"skipped": skipped})
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(terminal(measured, width=width))
    if options.markdown is not None:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(options.markdown, page(whole).encode())
    wrong = faults(measured)
    for line in wrong:
        say(line)
    return 1 if wrong else 0


def _run_here(
    options: argparse.Namespace, files: Sequence[VerifiedFile], failures: Mapping[str, ZooError]
) -> int:
    """Verify in the runtimes that are installed beside the zoo, one line a runtime."""
    from zoo.parity.prove import prove

    with heap.returning_large_blocks():  # a session's memory goes before the next one is opened
        proofs = [(file.title, prove(file.path, file.cases, file.policy)) for file in files]
    notes = {file.title: file.conditioning for file in files if file.conditioning}
    if options.json:
        print_json(
            [_json(title, proof) | {"note": notes.get(title, "")} for title, proof in proofs]
            + [{"model": k, "error": str(v)} for k, v in failures.items()]
        )
    else:
        _print(proofs, failures, notes)
    return int(not all(proof.report.ok for _, proof in proofs))


def _json(title: str, proof: Proof) -> dict[str, Any]:
    return {
        "model": title,
        "ok": proof.report.ok,
        "runtimes": proof.versions,
        "skipped": proof.left_out,
        "comparisons": proof.report.to_json(),
    }


def _print(
    proofs: Sequence[tuple[str, Proof]], failures: Mapping[str, ZooError], notes: Mapping[str, str]
) -> None:
    from zoo.terminal.tables import print_table

    rows = []
    for title, proof in proofs:
        for runtime, version in proof.versions.items():
            rows.append(_row(title, f"{runtime} {version}", runtime, proof.report))
        rows += [
            [title, name, "", "", f"left out: {reason}"] for name, reason in proof.left_out.items()
        ]
        if title in notes:
            rows.append([title, "", "", "", notes[title]])
    rows += [[name, "", "", "", f"FAILED: {reason}"] for name, reason in failures.items()]
    header = ("model", "runtime", "compared", "largest difference", "result")
    print_table(header, rows, right="llrrl", dropped=("largest difference", "compared", "runtime"))


def _row(name: str, title: str, runtime: str, report: Report) -> list[str]:
    comparisons = [row for row in report.comparisons if row.runtime == runtime]
    failed = [row for row in comparisons if row.failed]
    verdict = f"FAILED: {failed[0].case}: {failed[0].reason}" if failed else "ok"
    largest = max((row.max_abs for row in comparisons), default=0.0)
    return [name, title, str(len(comparisons)), f"{largest:.1e}", verdict]
