"""What `zoo export` prints of what it published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.export.from_recipe import Exported


def exported_json(item: Exported) -> dict[str, Any]:
    """Return what --json prints of one."""
    return {
        "model": item.name,
        "version": item.version,
        "exported_now": item.fresh,
        "new_version": item.created,
        "seconds": item.seconds,
        "graph": item.manifest["graph"],
        "parity": item.manifest["parity"],
        "variants": item.manifest["variants"],
        "files": item.manifest["files"],
    }


def print_exported(items: Sequence[Exported]) -> None:
    """Print what was published, how large, and how far from Keras."""
    from zoo.parity.compare import largest_on_plain_rows
    from zoo.publish.versions import model_bytes
    from zoo.terminal.tables import print_table

    rows = [
        [
            item.name,
            str(item.version),
            str(item.manifest["graph"]["nodes"]),
            str(model_bytes(item.manifest)),
            f"{largest_on_plain_rows(item.manifest['parity']):.1e}",
            f"{item.seconds:.1f}" if item.fresh else "up to date",
        ]
        for item in items
    ]
    if rows:
        header = ("model", "version", "nodes", "bytes", "largest Δ to Keras", "seconds")
        print_table(header, rows, right="lrrrrr", dropped=("nodes", "version", "bytes"))
    print_smaller([(item.name, item.manifest["variants"]) for item in items])


def print_smaller(models: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> None:
    """Print what was measured of quantised variants, of one file or of several models."""
    from zoo.quantize import report as figures
    from zoo.terminal.tables import print_table

    rows = [
        [name, *row] for name, variants in models for row in figures.rows(figures.records(variants))
    ]
    if not rows:
        return
    print()
    print_table(("model", *figures.HEADER), rows, right=f"l{figures.RIGHT}")
