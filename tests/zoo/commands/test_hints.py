"""What a refusal of a command says to do, done: `zoo` reads the command that it names, which leads on."""

import argparse
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from tests.zoo.models.graphs import write_classifier
from zoo import cli
from zoo.client.errors import Unreachable, error_of
from zoo.commands.layers import matching
from zoo.errors import ZooError
from zoo.files import json_bytes
from zoo.parity.compare import Case
from zoo.parity.vectors import write_vectors
from zoo.publish.manifest import file_facts
from zoo.publish.versions import export_command, read_manifest, unknown_model
from zoo.training.runs import RunFolder

Refuse = Callable[..., str]


@pytest.fixture
def refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refuse:
    """Run a command in an empty folder, and return what it says where it is refused."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        try:
            status: object = cli.main(words)
        except SystemExit as error:
            status = error.code
        assert status != 0
        said = capsys.readouterr()
        return said.err + said.out

    return run


def told(said: str) -> argparse.Namespace:
    """Return the options of the one command that a message names, as `zoo` reads them."""
    (command,) = re.findall(r"`zoo ([^`]*)`", said)
    return cli.parse(shlex.split(command))


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Two versions of a classifier in the repository `models`, with test vectors and no manifest."""
    rows = np.float32([[3, 1], [1, 3]])
    shares = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    for number in (1, 2):
        file = write_classifier(tmp_path / "models" / "sides" / str(number) / "model.onnx")
        write_vectors(file.parent, [Case(name="rows", feeds={"x": rows}, expected={"p": shares})])
    return tmp_path / "models"


@pytest.mark.parametrize("repository", ["other", "my models"])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("predict", "dense_iris", "1,2,3,4"),
        ("bench", "dense_iris"),
        ("verify",),
        ("verify", "dense_iris"),
        ("site",),
        ("push", "dense_iris", "memory://store"),
        ("serve",),
    ],
)
def test_a_model_that_is_missing_is_exported_where_it_is_missing(
    refuse: Refuse, words: tuple[str, ...], repository: str, exists: bool
) -> None:
    """Into the repository that was named: another one would be no help."""
    if exists:
        if words == ("serve",):
            return  # an empty folder is served, and what is published there later
        Path(repository).mkdir()
    options = told(refuse(*words, "--repository", repository))

    assert options.command == "export"
    assert str(options.repository) == repository
    assert options.models in ([], list(words[1:2]))


def test_what_the_list_lacks_is_exported_where_it_looked(
    refuse: Refuse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my models").mkdir()
    assert cli.main(["list", "--repository", "my models"]) == 0
    commands = set(re.findall(r"not exported yet: (`[^`]*`)", capsys.readouterr().out))

    assert str(told(*commands).repository) == "my models"


def test_a_name_that_is_none_is_not_to_be_exported(refuse: Refuse, sides: Path) -> None:
    """What `zoo export` does not know leads nowhere."""
    assert "has no model 'side': did you mean sides?" in refuse("push", "side", "memory://store")
    assert "it has sides" in refuse("push", "nothing_like_it", "memory://store")
    assert told(str(unknown_model(sides, "dense_iris"))).models == ["dense_iris"]
    assert export_command() == "`zoo export`"
    assert export_command(Path("lib/layer_zoo_models/models"), "m") == "`zoo export m`"


def test_the_data_package_is_named_where_it_would_be_found(refuse: Refuse, sides: Path) -> None:
    """A folder `models`, and a repository that is named, come before it."""
    (sides.parent / "empty").mkdir()
    for repository in (None, "empty"):
        with pytest.raises(ZooError, match="run `zoo export dense_iris") as caught:
            zoo.load("dense_iris", repository=repository)
        assert "pip install" not in str(caught.value)
    sides.rename(sides.parent / "elsewhere")
    with pytest.raises(ZooError, match="or pip install layer-zoo-models"):
        zoo.load("dense_iris")


def test_a_version_is_named_as_each_command_takes_it(
    refuse: Refuse, sides: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MODEL@VERSION is read by push and pull alone."""
    said = refuse("predict", "sides@1", "3,1")
    for words in (("verify",), ("bench",), ("run",), ("show",)):
        assert "@1 is understood by `zoo push`" in refuse(*words, "sides@1"), words
    for words in (("train",), ("export",)):
        assert "dense_iris" in refuse(*words, "dense_iris@1")
    assert "`zoo predict sides` takes --model-version 1 (zoo.load: version=1)" in said
    assert "`zoo bench` the version's folder, `zoo verify` its model.onnx" in said

    for words in (
        ("predict", "sides", "3,1", "--model-version", "1"),
        ("bench", "models/sides/1", "--seconds", "0.01"),
        ("verify", "models/sides/1/model.onnx"),
    ):
        assert cli.main(words) == 0, capsys.readouterr().out
    assert zoo.load("sides", version=1).version == "1"


def test_a_model_from_elsewhere_is_not_called_unknown(refuse: Refuse, sides: Path) -> None:
    """It has no manifest; what takes it without one is said, and takes it."""
    assert "has no manifest: `zoo export` did not publish it" in refuse("show", "sides")
    said = refuse("verify", "sides")
    assert "`zoo verify FILE.onnx` takes one with test_data_set_N folders beside it" in said

    assert cli.main(["verify", "models/sides/2/model.onnx"]) == 0
    assert cli.main(["run", "sides"]) == 0


def test_a_model_without_vectors_is_run_on_an_input(refuse: Refuse, tmp_path: Path) -> None:
    """Whatever the file calls itself."""
    write_classifier(tmp_path / "models" / "mine" / "1" / "model.onnx", name="sides")

    assert "mine has no test vectors: give an INPUT" in refuse("run", "mine")
    assert cli.main(["run", "mine", "3,1"]) == 0


@pytest.mark.parametrize("source", [None, "mine.keras"])
def test_a_damaged_version_is_exported_again(sides: Path, source: str | None) -> None:
    """A recipe by its name, a file by its own; neither is then taken for up to date."""
    folder = sides / "sides" / "2"
    rebuild = {"rebuild": {"source": {"file": source}}} if source else {}
    facts = {"summary": "", "parity": [], "graph": {}, "layers": [], "files": file_facts(folder)}
    (folder / "manifest.json").write_bytes(json_bytes(facts | rebuild))
    manifest = read_manifest(sides, "sides")
    assert manifest is not None
    manifest.require_intact()
    (folder / "model.onnx").write_bytes(b"other")

    what = "mine.keras again under --name sides" if source else "sides again"
    with pytest.raises(ZooError, match=f"export {what}, which adds a whole version"):
        manifest.require_intact()
    assert not manifest.is_intact


def test_a_training_that_cannot_be_read_is_done_again(tmp_path: Path) -> None:
    """Once it is removed: its record alone would say that it is up to date."""
    run = RunFolder(tmp_path, "dense_iris")
    run.path.mkdir()
    (run.path / "held_out.npz").write_bytes(b"none")

    with pytest.raises(ZooError, match=f"remove {re.escape(str(run.path))}, and train dense_iris"):
        run.held_out()


def test_a_recipe_is_written_under_another_name(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()

    assert "choose another name, or move it away" in refuse("new", "mine")
    assert cli.main(["new", "yours"]) == 0
    (tmp_path / "mine.py").rename(tmp_path / "old.py")
    assert cli.main(["new", "mine"]) == 0


def test_a_module_that_is_missing_is_said_before_keras_starts(
    refuse: Refuse, tmp_path: Path
) -> None:
    """Its import takes ten seconds and more."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "mine.keras", "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    (tmp_path / "layers.txt").touch()
    had = "keras" in sys.modules

    assert "--module none.py: there is no such file" in refuse(
        "export", "mine.keras", "--module", "none.py"
    )
    assert "its name must end in .py" in refuse("export", "mine.keras", "--module", "layers.txt")
    assert ("keras" in sys.modules) == had


def test_a_case_of_the_atlas_is_named_as_it_is_said() -> None:
    """Its name has brackets, which as a regular expression are others."""
    with pytest.raises(ZooError, match=r"did you mean .*Dense\[linear\]"):
        matching("Dense[linea]")
    assert [case.name for case in matching("Dense[linear]")] == ["Dense[linear]"]
    assert len(matching("Dense")) > 3


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:8001", "127.0.0.1", 8001),
        ("localhost:9001", "127.0.0.1", 9001),
        ("10.0.0.1:8001", "10.0.0.1", 8001),
        ("[::1]:9001", "::1", 9001),
    ],
)
def test_a_server_is_started_where_it_was_looked_for(address: str, host: str, port: int) -> None:
    error = error_of(
        "UNAVAILABLE", "failed to connect to all addresses", address=address, seconds=1
    )
    options = told(str(error))

    assert isinstance(error, Unreachable)
    assert (options.command, options.host, options.grpc_port) == ("serve", host, port)


def test_an_address_without_a_port_is_given_one() -> None:
    """gRPC would ask port 443, on which nobody starts a server."""
    error = error_of("UNAVAILABLE", "failed to connect to all", address="localhost", seconds=1)

    assert str(error) == ("no server answers at localhost: give HOST:PORT, such as 127.0.0.1:8001")


@contextmanager
def _http(status: int) -> Iterator[str]:
    """Answer every request with a status; 0 closes the connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status:
                self.send_error(status)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "with a token, curl -H 'authorization: Bearer TOKEN' http://{address}/metrics"),
        (404, "name the metrics port, which is 8002 unless --metrics-port says otherwise"),
        (0, "if it speaks TLS, curl --cacert FILE https://{address}/metrics reads them"),
    ],
)
def test_metrics_that_cannot_be_read_are_had_otherwise(
    refuse: Refuse, status: int, words: str
) -> None:
    """The command sends no token and speaks no TLS; that a server runs there is known by then."""
    with _http(status) as address:
        said = refuse("ps", "--metrics", address)

    assert words.format(address=address) in said
    assert "is `zoo serve` running there?" in refuse("ps", "--metrics", "127.0.0.1:1")
