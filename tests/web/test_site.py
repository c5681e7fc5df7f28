"""The built gallery: pages, links, languages, taps, and a folder that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.web.conftest import STAND_IN
from tests.web.links import Links
from zoo.errors import UsageError, ZooError
from zoo.site import build
from zoo.site.build import SITE_FILE, Sources, build_site
from zoo.site.pages import LANGUAGES, web_folder

#: What a page may load before it paints, its pictures and the runtime apart.
FIRST_PAINT_BYTES = 100_000


def _pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_model_has_a_page_in_every_language(site: Path, sources: Sources) -> None:
    names = {path.parent.name for path in sources.repository.glob("*/config.pbtxt")}
    for below in LANGUAGES.values():
        assert {path.name for path in (site / below / "models").iterdir()} == names
        assert (site / below / "tutorial/index.html").is_file()


def test_every_link_of_every_page_leads_to_a_file_of_the_site(site: Path) -> None:
    """Links are relative and stay inside, so that the site may lie anywhere and needs no network."""
    broken = []
    for page in _pages(site):
        for link in Links(page).links:
            path, _, _ = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if ":" in link or not target.is_file() or not target.is_relative_to(site.resolve()):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken


def test_every_anchor_is_there(site: Path) -> None:
    for page in _pages(site):
        for link in Links(page).links:
            path, mark, anchor = link.partition("#")
            if mark and anchor:
                target = (page.parent / path) if path else page
                assert f'id="{anchor}"' in target.read_text(encoding="utf-8"), link


def test_pages_have_no_inline_script_style_or_handler(site: Path) -> None:
    """The content security policy would refuse them."""
    assert not [page for page in _pages(site) if Links(page).inline]


def _imports(module: Path, seen: set[Path]) -> set[Path]:
    """What a module imports at its start, and what that imports."""
    if module not in seen:
        seen.add(module)
        for name in re.findall(
            r'^import .* from "\./([\w-]+\.js)";', module.read_text(), re.MULTILINE
        ):
            _imports(module.parent / name, seen)
    return seen


def test_what_a_page_loads_before_it_paints_is_small(site: Path) -> None:
    for page in _pages(site):
        links = Links(page)
        loaded = {page, *((page.parent / style).resolve() for style in links.styles)}
        for script in links.scripts:
            loaded |= _imports((page.parent / script).resolve(), set())
        size = sum(path.stat().st_size for path in loaded)
        assert size < FIRST_PAINT_BYTES, page.relative_to(site)


def test_modules_import_files_that_there_are(site: Path) -> None:
    for module in (site / "assets").glob("*.js"):
        for name in re.findall(r'(?:from|import\()\s*"\./([\w-]+\.js)"', module.read_text()):
            assert (module.parent / name).is_file(), f"{module.name} imports {name}"


def _keys(values: object, path: str = "") -> set[str]:
    if not isinstance(values, dict):
        return {path}
    return {key for name, value in values.items() for key in _keys(value, f"{path}.{name}")}


def test_every_language_has_the_same_words() -> None:
    texts = {
        language: json.loads((web_folder() / "text" / f"{language}.json").read_text("utf-8"))
        for language in LANGUAGES
    }
    for text in texts.values():
        del text["summaries"]  # English ones are the recipes' own
    assert _keys(texts["en"]) == _keys(texts["ko"])


def test_every_word_that_a_module_asks_for_is_there() -> None:
    web = web_folder()
    words = json.loads((web / "text/en.json").read_text("utf-8"))["js"]
    keys = {
        key
        for module in (web / "assets").glob("*.js")
        for key in re.findall(r'\bt\("(\w+)"', module.read_text("utf-8"))
    }
    assert keys <= set(words)


def test_taps_answer_as_the_model_does_and_show_every_tensor(site: Path, sources: Sources) -> None:
    """The model's own outputs come first, and are the same."""
    for folder in sorted((site / "data").iterdir()):
        page = json.loads((folder / "page.json").read_text("utf-8"))
        feeds = {
            name: np.array(tensor["values"], np.float32).reshape(tensor["shape"])
            for name, tensor in page["example"].items()
        }
        model, taps = (
            onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("model", "taps")
        )
        names = [output.name for output in taps.get_outputs()]
        answers = dict(zip(names, taps.run(None, feeds), strict=True))
        for output, value in zip(model.get_outputs(), model.run(None, feeds), strict=True):
            bound = page["tolerance"] * np.abs(value).max()
            np.testing.assert_allclose(answers[output.name], value, rtol=0, atol=bound)
        wanted = {name for node in page["nodes"] for name in (*node["outputs"], *node["inputs"])}
        assert wanted - set(names) <= set(feeds), folder.name


def test_every_layer_with_weights_is_found_in_the_graph(site: Path) -> None:
    """A stage of a page is named after the Keras layer that it computes."""
    for folder in sorted((site / "data").iterdir()):
        page = json.loads((folder / "page.json").read_text("utf-8"))
        if page["kind"] == "step":
            continue  # its cell is taken apart into products
        named = {node["layer"] for node in page["nodes"] if node["layer"]}
        kinds = ("Conv2D", "Dense", "LSTM", "GRU", "Bidirectional", "MaxPooling2D")
        assert named >= {each["name"] for each in page["layers"] if each["type"] in kinds}


def test_the_list_of_files_is_complete_and_right(site: Path) -> None:
    files = json.loads((site / SITE_FILE).read_text("utf-8"))["files"]
    there = {p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()}
    assert set(files) == there - {SITE_FILE}
    for name in ("index.html", "data/dense_iris/model.onnx"):
        assert files[name]["sha256"] == hashlib.sha256((site / name).read_bytes()).hexdigest()


def test_a_model_is_the_published_file(site: Path, sources: Sources) -> None:
    for name in ("cnn_digits", "lstm_sunspots"):
        published = max(sources.repository.glob(f"{name}/*/model.onnx"))
        assert (site / "data" / name / "model.onnx").read_bytes() == published.read_bytes()


def test_a_build_that_fails_leaves_the_old_site_and_nothing_else(
    site: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (site / SITE_FILE).read_bytes()

    def fail(_: object) -> dict[str, bytes]:
        raise ZooError("no network")

    monkeypatch.setattr(build, "runtime_files", fail)
    with pytest.raises(ZooError, match="no network"):
        build_site(sources, site)
    assert (site / SITE_FILE).read_bytes() == before
    assert [path.name for path in site.parent.iterdir()] == [site.name]


def test_a_build_needs_no_training_framework(sources: Sources, tmp_path: Path) -> None:
    program = """
import sys
from dataclasses import replace
from pathlib import Path
from zoo.recipes.registry import Registry
from zoo.site import build
build.runtime_files = lambda _: {}
repository, runs, output = map(Path, sys.argv[1:])
sources = build.Sources(repository=repository, runs=runs, registry=Registry.default())
build.build_site(sources, output)
loaded = {"keras", "tensorflow", "tf2onnx"} & set(sys.modules)
sys.exit(f"it loads {loaded}" if loaded else 0)
"""
    for name in ("cnn_digits", "lstm_sunspots"):
        shutil.copytree(sources.repository / name, tmp_path / "models" / name)
    arguments = [str(each) for each in (tmp_path / "models", sources.runs, tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/index.html").is_file()


def test_documentation_is_shown_where_it_is_given_and_linked_from_every_page(
    site: Path, sources: Sources, tmp_path: Path
) -> None:
    """The fixture's is a stand-in; what its builder keeps for itself stays out."""
    assert (site / "docs/index.html").is_file()
    assert not (site / "docs/.buildinfo").exists()
    for page in (
        site / "index.html",
        site / "ko/index.html",
        site / "models/dense_iris/index.html",
    ):
        targets = {(page.parent / link).resolve() for link in Links(page).links}
        assert (site / "docs/index.html").resolve() in targets
    with pytest.raises(UsageError, match=r"holds no index.html: `make docs` builds it"):
        build_site(replace(sources, docs=tmp_path), tmp_path / "site")


def test_times_are_shown_with_their_conditions(
    site: Path, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they were asked for: the same sources give the same site without."""
    shutil.copytree(sources.repository / "dense_iris", tmp_path / "models/dense_iris")
    monkeypatch.setattr(build, "runtime_files", lambda _: STAND_IN)
    timed = replace(sources, repository=tmp_path / "models", timed=True)
    build_site(timed, tmp_path / "site")

    page = (tmp_path / "site/index.html").read_text("utf-8")
    assert re.search(r'data-latency="0\.\d+"', page)
    assert re.search(r"<dt>Time</dt><dd>\d+ µs</dd>", page)
    assert f"onnxruntime {onnxruntime.__version__} on " in page
    assert "data-latency" not in (site / "index.html").read_text("utf-8")


def test_a_folder_that_is_no_site_is_refused(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/one.txt").write_text("dear")
    with pytest.raises(UsageError, match="is no site of `zoo site`"):
        build_site(sources, tmp_path / "letters")
    assert (tmp_path / "letters/one.txt").read_text() == "dear"


def test_a_repository_without_models_is_refused(sources: Sources, tmp_path: Path) -> None:
    empty = Sources(repository=tmp_path, runs=tmp_path, registry=sources.registry)
    with pytest.raises(UsageError, match="no model is published"):
        build_site(empty, tmp_path / "site")


def test_a_model_from_a_keras_file_has_a_page_too(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest knows neither data nor training, and no recipe has its name."""
    model = tmp_path / "models/mine"
    shutil.copytree(sources.repository / "dense_iris", model)
    path = max(model.glob("*/manifest.json"))
    values = json.loads(path.read_text("utf-8"))
    for key in ("task", "tutorial", "training", "data", "parameters", "recipe", "held_out"):
        values.pop(key, None)
    path.write_text(json.dumps(values | {"name": "mine", "layers": []}))
    monkeypatch.setattr(build, "runtime_files", lambda _: STAND_IN)

    mine = Sources(repository=tmp_path / "models", runs=tmp_path, registry=sources.registry)
    build_site(mine, tmp_path / "site")

    page = json.loads((tmp_path / "site/data/mine/page.json").read_text("utf-8"))
    assert page["kind"] == "numbers"
    assert "mine" in (tmp_path / "site/models/mine/index.html").read_text("utf-8")
    # What the tutorial shows is not here: it names those models, and links to none.
    links = Links(tmp_path / "site/tutorial/index.html").links
    assert not [link for link in links if "dense_iris" in link]
