"""What the README and the pages of docs/ show is what happens: their examples run, on a real server where they ask one."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.docs.blocks import PAGES, ROOT, Block, blocks, same
from zoo.cli import COMMANDS, main
from zoo.recipes.registry import Registry

README = (ROOT / "README.md").read_text()
ZOO = Path(sys.executable).with_name("zoo")

pytestmark = pytest.mark.interop

BLOCKS = {page.name: blocks(page) for page in PAGES}
RUN = {
    name: [block for block in page if block.language == "python" and not block.mark]
    for name, page in BLOCKS.items()
}


@pytest.fixture
def folder(trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader is: beside `models` and `build/runs`."""
    (tmp_path / "models").symlink_to(trained.repository)
    (tmp_path / "build").mkdir()
    (tmp_path / "build/runs").symlink_to(trained.runs)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _ported(text: str, addresses: dict[str, str]) -> str:
    """Return a text with the server's addresses in place of the usual ones."""
    return text.replace("127.0.0.1:8001", addresses["gRPC"]).replace(
        "127.0.0.1:8000", addresses["HTTP"]
    )


@pytest.mark.parametrize("page", [name for name, run in RUN.items() if run])
def test_the_python_of_a_page_prints_what_it_shows(
    page: str, folder: Path, addresses: dict[str, str]
) -> None:
    """Its blocks run as they stand, in order, but for the ports; a block of text is what the one before prints."""
    end = "-- end of the block --"
    code = f"\nprint({end!r})\n".join(_ported(block.text, addresses) for block in RUN[page])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )

    assert done.returncode == 0, done.stderr
    for block, printed in zip(RUN[page], done.stdout.split(f"{end}\n"), strict=True):
        following = BLOCKS[page][BLOCKS[page].index(block) + 1 :][:1]
        shown = following[0] if following and following[0].language == "text" else None
        assert shown is not None, f"{block} shows nothing of what it prints: {printed}"
        assert same(shown.text, printed), f"{block} prints {printed}"


@pytest.mark.parametrize(
    "block", [b for page in BLOCKS.values() for b in page if b.mark == "output"], ids=str
)
def test_a_console_prints_what_it_shows(
    block: Block, folder: Path, addresses: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, shown in block.commands:
        words = [_ported(word, addresses) for word in words]
        if words[0] == "curl":
            printed = _curl(words)
        else:
            assert main(words[1:]) == 0
            printed = capsys.readouterr().out
        assert same(shown, printed), printed


def _curl(words: list[str]) -> str:
    """Post what `curl -d BODY URL` would; return the answer."""
    host, _, path = words[-1].removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("POST", f"/{path}", words[words.index("-d") + 1].encode())
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    return text


def _words(program: str) -> list[list[str]]:
    commands = [
        words
        for page in BLOCKS.values()
        for block in page
        if block.language == "console"
        for words, _ in block.commands
        if words[0] == program
    ]
    assert commands
    return commands


def test_the_curl_lines_find_a_setosa(addresses: dict[str, str]) -> None:
    """Their exact bodies and paths, posted to the REST port."""
    for words in _words("curl"):
        answer = json.loads(_curl([_ported(word, addresses) for word in words]))
        values = answer["outputs"][0]["data"] if "outputs" in answer else answer["predictions"][0]
        assert values.index(max(values)) == 0


def test_the_grpcurl_line_works_through_reflection(address: str) -> None:
    """Its exact request, built from nothing but what the server's reflection says."""
    (words,) = _words("grpcurl")
    text, (target, path) = words[words.index("-d") + 1], words[-2:]
    assert target == "127.0.0.1:8001"
    service, method = path.split("/")
    with grpc.insecure_channel(address) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        described = pool.FindServiceByName(service).methods_by_name[method]
        request = json_format.Parse(text, message_factory.GetMessageClass(described.input_type)())
        call = channel.unary_unary(
            f"/{path}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(described.output_type).FromString,
        )
        response = json_format.MessageToDict(call(request))

    assert response["modelName"] == "dense_iris"
    assert response["outputs"][0]["shape"] == ["1", "3"]


def test_the_recipe_of_one_s_own_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that docs/own_model.md shows: the data is made, read and split; the recipe is valid."""
    monkeypatch.chdir(tmp_path)
    _write_files("own_model.md")
    subprocess.run([sys.executable, "make_spirals.py"], check=True, timeout=60)
    known = Registry.default()
    (name,) = known.add_file(tmp_path / "spirals.py")
    splits = known.get(name).dataset.load()

    assert [len(rows) for rows in (splits.train, splits.validation, splits.test)] == [540, 180, 180]


def _write_files(page: str) -> None:
    for block in BLOCKS[page]:
        if block.mark == "file":
            Path(block.name).write_text(block.text)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", ["own_model.md", "tour.md", "export.md"])
def test_what_trains_and_exports_does(page: str, tmp_path: Path) -> None:
    """Every line of the page on one's own model, and what other pages mark as slow."""
    all_of_it = page == "own_model.md"
    for block in BLOCKS[page]:
        if block.mark == "file":
            (tmp_path / block.name).write_text(block.text)
        elif block.language == "python" and block.mark == "slow":
            _succeeds([sys.executable, "-c", block.text], tmp_path)
        elif block.language == "console" and (all_of_it or block.mark == "slow"):
            for words, shown in block.commands:
                if words[:2] == ["zoo", "serve"]:
                    continue
                program = sys.executable if words[0] == "python" else str(ZOO)
                printed = _succeeds([program, *words[1:]], tmp_path)
                # Seconds and the last digits of a training differ from run to run.
                assert not shown or printed.split()[0] == shown.split()[0]


def _succeeds(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=500, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_predict_speaks_json(address: str) -> None:
    """Labels, probabilities, version and raw outputs, for machines."""
    done = subprocess.run(
        [
            str(ZOO),
            "predict",
            "dense_cancer",
            "-",
            "--json",
            "--server",
            address,
        ],
        input="\n".join([",".join(["1"] * 30)] * 2),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    answer = json.loads(done.stdout)
    assert answer["model"] == "dense_cancer"
    assert len(answer["predictions"]) == 2
    assert set(answer["predictions"][0]["probabilities"]) == {"malignant", "benign"}


def test_the_commands_table_is_complete() -> None:
    """Every command is in docs/commands.md, and no other."""
    page = (ROOT / "docs/commands.md").read_text()
    assert tuple(re.findall(r"^\| `zoo (\w+)", page, re.MULTILINE)) == COMMANDS


def test_the_models_table_is_complete() -> None:
    """It was generated from the manifests of every model of the registry."""
    table = README.split("<!-- models: begin -->")[1].split("<!-- models: end -->")[0]

    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == Registry.default().names()
    assert "not exported" not in table


def test_every_model_has_its_piece_of_the_tutorial() -> None:
    """docs/tutorial.md names each model of the registry, and no other."""
    page = (ROOT / "docs/tutorial.md").read_text()
    named = {
        name
        for name in re.findall(r"`(\w+)`", page)
        if name.startswith(("dense_", "cnn_", "lstm_", "gru_", "bilstm_"))
    }

    assert named == set(Registry.default().names())
