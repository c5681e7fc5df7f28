"""Draws the pictures of docs/architecture.md: `python docs/draw.py` writes docs/images/*.svg.

The order of the rooms is that of the contracts in pyproject.toml, which `make check` enforces.
Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"

#: What each room is for, by package. Other modules of pyproject.toml's layers are not drawn.
NOTES = {
    "zoo": {
        "cli": "the command",
        "commands": "one module a command",
        "terminal": "tables, progress, errors",
        "site": "the gallery",
        "export": "the ways to a file",
        "runtimes": "other ONNX programs",
        "models": "load, ask, compare",
        "publish": "versions on disk",
        "card": "model card, plots",
        "quantize": "8 and 16 bits",
        "atlas": "every Keras layer",
        "parity": "the proof: cases × files × policy",
        "training": "fit, metrics, runs; starts Keras",
        "recipes": "models with data and claim",
        "datasets": "data from packages",
        "convert": "Keras to ONNX",
        "client": "numpy in, numpy out",
        "files": "checksum, atomic write, lock",
        "table": "printed tables",
        "version": "the release",
        "errors": "who is to blame",
    },
    "zoo_server": {
        "main": "process, signals",
        "ray_serve": "replicas in Ray",
        "supervisors": "several processes",
        "server": "composes every part",
        "backends": "onnxruntime",
        "endpoints": "the ports and what answers",
        "topology": "one process or several",
        "protocols": "grpc, grpc_web, rest, tfs",
        "dataplane": "what every protocol may ask",
        "models": "load, unload, catalog",
        "inference": "request to answer",
        "repository": "on disk",
        "schedulers": "who runs when",
        "telemetry": "metrics, logs",
        "limits": "what bounds",
        "model_config": "config.pbtxt",
        "config": "options",
        "datatypes": "element types",
        "options": "rows of a table",
        "images": "pictures to values",
        "errors": "who is to blame",
    },
}

Rows = list[list[tuple[str, str]]]


def layers(package: str) -> Rows:
    """The rooms of a package from top to bottom, each with its note: a room imports rooms of lower rows only."""
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    contract = next(each for each in contracts if each.get("containers") == [package])
    notes = NOTES[package]
    named = [[name.strip() for name in row.split("|")] for row in contract["layers"]]
    return [[(name, notes[name]) for name in row if name in notes] for row in named]


STYLE = """
    text { font-family: system-ui, 'DejaVu Sans', sans-serif; font-size: 13px; fill: #1f2328; }
    .name { font-weight: 600; }
    .note { font-size: 11px; fill: #59636e; }
    .page { fill: #ffffff; }
    .box { fill: #eaf2fd; stroke: #4678b8; }
    .disk { fill: #fdf3dc; stroke: #b0842c; }
    .outside { fill: #f3f4f6; stroke: #818b98; }
    .line { stroke: #59636e; fill: none; stroke-width: 1.5; }
    .head { fill: #59636e; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f3f6; }
      .note { fill: #aeb8c2; }
      .page { fill: #0d1117; }
      .box { fill: #16263d; stroke: #6ea3e6; }
      .disk { fill: #33280f; stroke: #d3a648; }
      .outside { fill: #1c2128; stroke: #8b949e; }
      .line { stroke: #aeb8c2; }
      .head { fill: #aeb8c2; }
    }
"""


@dataclass
class Picture:
    """One SVG: boxes and arrows by coordinates, in the order in which they are added."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def box(
        self, x: int, y: int, w: int, h: int, name: str, note: str = "", kind: str = "box"
    ) -> None:
        """A box with its name, and under it a note of one or more lines."""
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="6"/>')
        notes = note.split("\n") if note else []
        top = y + h / 2 + 5 - 8 * len(notes)
        self.text(x + w / 2, top, name, "name")
        for place, line in enumerate(notes):
            self.text(x + w / 2, top + 16 * (place + 1), line, "note")

    def text(
        self, x: float, y: float, words: str, kind: str = "note", anchor: str = "middle"
    ) -> None:
        self.parts.append(
            f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def arrow(self, *points: tuple[int, int]) -> None:
        """A line through the points, with a head at the last."""
        path = " L".join(f"{x} {y}" for x, y in points)
        self.parts.append(f'<path class="line" d="M{path}" marker-end="url(#head)"/>')

    def svg(self) -> str:
        body = "\n  ".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" aria-label="{escape(self.title)}">\n'
            f"  <title>{escape(self.title)}</title>\n"
            f"  <style>{STYLE}  </style>\n"
            '  <defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse"><path class="head" d="M0 0 L10 5 L0 10 z"/>'
            "</marker></defs>\n"
            f'  <rect class="page" width="{self.width}" height="{self.height}" rx="8"/>\n'
            f"  {body}\n</svg>\n"
        )


def _column(picture: Picture, x: int, y: int, width: int, rows: Rows) -> None:
    """Rows of rooms, one under the other, with an arrow from each to the next."""
    height, gap, between = 48, 18, 8
    for place, row in enumerate(rows):
        top = y + place * (height + gap)
        each = (width - between * (len(row) - 1)) // len(row)
        for column, (name, note) in enumerate(row):
            picture.box(x + column * (each + between), top, each, height, name, note)
        if place:
            picture.arrow((x + width // 2, top - gap + 1), (x + width // 2, top - 1))


def rooms() -> Picture:
    """Both programs, their rooms in layers, and the repository between them."""
    zoo, server = layers("zoo"), layers("zoo_server")
    bottom = 48 + max(len(zoo), len(server)) * 66 - 14
    picture = Picture(
        1000, bottom + 122, "The rooms of zoo and zoo_server: a room imports what is below it"
    )
    picture.text(254, 32, "zoo: makes the repository", "name")
    _column(picture, 24, 48, 460, zoo)
    picture.text(762, 32, "zoo_server: serves it, and never imports zoo", "name")
    _column(picture, 548, 48, 428, server)
    picture.box(308, bottom, 176, 48, "model repository", "Triton's layout, on disk", "disk")
    picture.arrow((396, 48 + len(zoo) * 66 - 18), (396, bottom - 1))
    picture.text(404, bottom - 14, "publish writes", anchor="start")
    picture.arrow((484, bottom + 24), (762, bottom + 24), (762, bottom - 3))
    picture.text(560, bottom + 18, "repository reads", anchor="start")
    picture.box(24, bottom + 66, 952, 40, "zoo_proto", kind="outside")
    return picture


#: Boxes that are no room.
_KINDS = {"client": "outside", "model repository": "disk", "ONNX files": "disk"}


def _snake(
    picture: Picture, y: int, there: list[tuple[str, str]], back: list[tuple[str, str]]
) -> None:
    """Four boxes from left to right, and under them four from right to left."""
    width, step = 200, 250
    for place, (name, note) in enumerate(there):
        picture.box(24 + place * step, y, width, 84, name, note, _KINDS.get(name, "box"))
        if place:
            picture.arrow((24 + place * step - 49, y + 42), (24 + place * step - 1, y + 42))
    low = y + 150
    picture.arrow((874, y + 85), (874, low - 1))
    for place, (name, note) in enumerate(reversed(back)):
        picture.box(24 + place * step, low, width, 84, name, note, _KINDS.get(name, "box"))
        if place:
            picture.arrow((24 + place * step - 1, low + 42), (24 + place * step - 49, low + 42))


def request() -> Picture:
    """From a call's bytes to its answer."""
    picture = Picture(1000, 330, "The way of a request through zoo_server")
    _snake(
        picture,
        24,
        [
            ("client", "gRPC, REST or\nTensorFlow Serving"),
            ("transport", "one loop takes every\ncall that is ready"),
            ("decode", "template of an earlier\nrequest, or the parser"),
            ("validate", "names, datatypes,\nshapes, sizes"),
        ],
        [
            ("schedule", "queue, dynamic batch,\nsequence"),
            ("run", "gather rows, onnxruntime,\nrows of each request"),
            ("encode", "raw outputs, JSON\nor typed lists"),
            ("answer", "status OK, or the error's\nstatus and message"),
        ],
    )
    picture.text(866, 138, "short for certain: on the loop", anchor="end")
    picture.text(866, 154, "anything else: on a worker thread", anchor="end")
    picture.text(
        24,
        292,
        "protocols/{grpc,grpc_web,rest,tfs}: transport, decode, encode, answer",
        anchor="start",
    )
    picture.text(
        24,
        312,
        "inference: validate, run.   schedulers: schedule.   backends: onnxruntime.",
        anchor="start",
    )
    return picture


def recipe() -> Picture:
    """From a recipe, a model or a file to a published version."""
    picture = Picture(1000, 350, "The way of a recipe to a published version")
    _snake(
        picture,
        24,
        [
            ("recipe", "model, data, seed,\nmetric, claim"),
            ("train", "fit, measure on held-out\nrows; build/runs/MODEL"),
            ("convert", "trace, tf2onnx, recurrent\noperators, passes"),
            ("ONNX files", "the model, portable and\nquantized variants"),
        ],
        [
            ("prove", "every variant against Keras:\nheld-out, adversarial rows"),
            ("stage", "config.pbtxt, manifest, card,\ntest vectors"),
            ("publish", "rename the whole\nversion into place"),
            ("model repository", "served by zoo serve\nor Triton"),
        ],
    )
    picture.text(624, 128, "a Keras model, or FILE.keras,", anchor="middle")
    picture.text(624, 144, "begins here", anchor="middle")
    picture.arrow((874, 259), (874, 318), (750, 318))
    picture.text(
        742, 322, "a difference beyond the bound: an error, and nothing is written", anchor="end"
    )
    return picture


PICTURES = {"rooms": rooms, "request": request, "recipe": recipe}


def main(arguments: list[str]) -> int:
    """Write the pictures; with --check only say whether they are what would be written."""
    stale = []
    for name, draw in PICTURES.items():
        path, drawn = IMAGES / f"{name}.svg", draw().svg()
        if not path.exists() or path.read_text(encoding="utf-8") != drawn:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(drawn, encoding="utf-8")
    print(f"{'stale' if '--check' in arguments else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
