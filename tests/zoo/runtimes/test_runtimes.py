"""Runtimes in processes of their own: crashes, hangs and wrong answers stay where they happen."""

import ast
import os
import re
import select as polling
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.waiting import is_running, until
from zoo.errors import UsageError
from zoo.parity.compare import Arrays, Case, Policy, Refusal, compare_answers
from zoo.parity.external_data import external_files
from zoo.publish.verification import VerifiedFile
from zoo.runtimes import measure
from zoo.runtimes.catalogue import ISOLATED, RUNNERS, IsolatedRuntime, descriptions, select
from zoo.runtimes.environments import Environment, RuntimeUnavailable, prepare
from zoo.runtimes.process import run_file

#: Long enough for a start on a busy machine; a fake itself takes no time.
SECONDS = 60.0

#: Does what the model's file is called.
FAKE = textwrap.dedent(
    """
    import os, signal, subprocess, sys, time
    from pathlib import Path

    def version():
        return "9.9"

    def load(path, outputs):
        behaviour = Path(path).stem
        print("runtimes print what they like", flush=True)
        if behaviour == "dies_at_load":
            os.kill(os.getpid(), signal.SIGSEGV)
        if behaviour == "overwrites":
            Path(path).write_text("simplified")
            Path(path).with_name("left.behind").touch()
            raise OSError(f"cannot read {path}")
        if behaviour == "refuses":
            raise NotImplementedError("no such operator: LSTM")

        def run(feeds):
            batch = len(feeds["x"])
            if behaviour == "dies_at_batch_7" and batch == 7:
                print("thread panicked at src/lstm.rs:3", "not a batch of one", sep="\\n", flush=True)
                os.abort()
            if behaviour == "hangs":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                (Path(__file__).parent / "pids").write_text(f"{os.getpid()} {child.pid}")
                time.sleep(600)
            if behaviour == "panics":
                raise type("PanicException", (BaseException,), {})("a Rust panic")
            if behaviour == "wrong":
                return {outputs[0]: feeds["x"] * 2 + 1}
            return {outputs[0]: feeds["x"] * 2}

        return run
    """
)

#: The same for node.
FAKE_NODE = textwrap.dedent(
    """
    import { basename } from "node:path";

    export const version = () => "9.9";

    export async function load(path, outputs) {
      const behaviour = basename(path);
      if (behaviour === "refuses") throw new Error("no such operator: LSTM");
      return ({ x }) => {
        if (behaviour === "dies" && x.dims[0] === 7) process.abort();
        return { [outputs[0]]: { type: x.type, dims: x.dims, data: x.data.map((v) => 2 * v) } };
      };
    }
    """
)


def _case(batch: int) -> Case:
    x = np.arange(batch * 2, dtype=np.float32).reshape(batch, 2)
    return Case(name=f"batch {batch}", feeds={"x": x}, expected={"y": x * 2})


CASES = (_case(1), _case(7))


@pytest.fixture
def fake(tmp_path: Path) -> IsolatedRuntime:
    """A runtime that does what the model's file is called."""
    adapter = tmp_path / "fake_adapter.py"
    adapter.write_text(FAKE)
    return IsolatedRuntime(name="fake", version="9", adapter=str(adapter), pins=())


def _answers(
    runtime: IsolatedRuntime,
    folder: Path,
    behaviour: str,
    *,
    cases: tuple[Case, ...] = CASES,
    seconds: float = SECONDS,
) -> list[Arrays | Refusal]:
    (folder / "models").mkdir(exist_ok=True)
    path = folder / "models" / behaviour
    path.write_bytes(b"a graph")
    interpreter = ("node",) if runtime.on_node else (sys.executable,)
    environment = Environment(folder=folder, interpreter=interpreter, installed={})
    version, answers = run_file(runtime, environment, path, cases, seconds=seconds)
    assert version == "9.9"
    return answers


def _right(answers: list[Arrays | Refusal]) -> bool:
    return all(row.ok for row in compare_answers("fake", CASES, answers))


def _reasons(answers: list[Arrays | Refusal]) -> list[str]:
    return [answer.reason if isinstance(answer, Refusal) else "" for answer in answers]


def test_answers_come_back_as_they_were_given(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """Names, types, shapes and values, whatever the runtime prints."""
    assert _right(_answers(fake, tmp_path, "right"))


def test_a_wrong_answer_is_reported_as_a_difference(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """The process only carries it; the comparison finds it."""
    rows = compare_answers("fake", CASES, _answers(fake, tmp_path, "wrong"))

    assert [row.ok for row in rows] == [False, False]
    assert rows[0].max_abs == 1.0


def test_a_refusal_is_in_the_runtimes_words(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """At load, for all cases."""
    refused, panicked = (_answers(fake, tmp_path, name) for name in ("refuses", "panics"))

    assert _reasons(refused) == ["NotImplementedError: no such operator: LSTM"] * 2
    assert _reasons(panicked) == ["PanicException: a Rust panic"] * 2


def test_a_crash_keeps_what_was_answered_before(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """The cases after it, or all if it died loading the file, are refused with how it ended."""
    running, loading = (_answers(fake, tmp_path, n) for n in ("dies_at_batch_7", "dies_at_load"))

    assert isinstance(running[0], dict)
    assert _reasons(running)[1] == "the process died (SIGABRT): not a batch of one"
    assert all("the process died (SIGSEGV)" in text for text in _reasons(loading))


def test_a_crash_costs_its_file_alone(
    fake: IsolatedRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other file of the runtime is answered."""
    environment = Environment(folder=tmp_path, interpreter=(sys.executable,), installed={})
    monkeypatch.setattr(measure, "ISOLATED", (fake,))
    monkeypatch.setattr(measure, "prepare", lambda runtime, root, say: environment)
    names = ("before", "dies_at_load", "after")
    targets = []
    for name in names:
        (tmp_path / name).write_bytes(b"a graph")
        targets.append(
            VerifiedFile(
                model=name, path=tmp_path / name, cases=CASES, title=name, policy=Policy(),
            )
        )  # fmt: skip
    record, skipped = measure.measure_all(targets, ["fake"], tmp_path, say=print)

    assert [item.cells["fake"].status for item in record.files] == ["ok", "refused", "ok"]
    assert skipped == {}


def test_a_hang_is_ended_and_nothing_is_left_running(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """Killed with what it had started, after the time limit."""
    answers = _answers(fake, tmp_path, "hangs", seconds=10)

    assert _reasons(answers) == ["no answer within 10 s"] * 2
    pids = [int(text) for text in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    # A kill is carried out a moment after it is sent, and the child of the child is nobody's to wait for.
    until(lambda: not any(is_running(pid) for pid in pids))


def test_a_runtime_gets_a_copy_of_the_model(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """onnx2tf writes over what it is given, pnnx beside it; and no reason names a folder."""
    answers = _answers(fake, tmp_path, "overwrites")

    assert _reasons(answers) == ["OSError: cannot read overwrites"] * 2
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["overwrites"]
    assert (tmp_path / "models" / "overwrites").read_bytes() == b"a graph"


def test_external_data_goes_with_its_model(tmp_path: Path) -> None:
    """A file of weights beside the graph, and nothing else that lies there."""
    weights = numpy_helper.from_array(np.ones((300, 300), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    sides = [helper.make_tensor_value_info(name, 1, ["n", 300]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", sides[:1], sides[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.weights")
    (folder / "private").touch()

    assert external_files(folder / "m.onnx") == ["m.weights"]


def test_text_is_not_tried(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """It has no raw form; said so, rather than failed."""
    text = Case(name="t", feeds={"x": np.array(["a"], object)}, expected={"y": np.zeros(1)})
    first, *others = _answers(fake, tmp_path, "right", cases=(text, *CASES))

    assert first == Refusal("not tried: x is text, which is not handed to other processes")
    assert _right(others)


def test_a_process_ends_with_its_parent(fake: IsolatedRuntime, tmp_path: Path) -> None:
    """Killed outright, the parent cleans nothing up; what it started notices."""
    (tmp_path / "hangs").write_bytes(b"a graph")
    source = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        import numpy as np
        from zoo.runtimes.catalogue import IsolatedRuntime
        from zoo.runtimes.environments import Environment
        from zoo.runtimes.process import run_file
        from zoo.parity.compare import Case

        one = np.zeros((1, 1), np.float32)
        case = Case(name="c", feeds={{"x": one}}, expected={{"y": one}})
        folder = Path({str(tmp_path)!r})
        runtime = IsolatedRuntime(name="f", version="9", adapter={fake.adapter!r}, pins=())
        place = Environment(folder=folder, interpreter=(sys.executable,), installed={{}})
        run_file(runtime, place, folder / "hangs", [case])
        """
    )
    os.mkfifo(tmp_path / "pids")
    parent = subprocess.Popen([sys.executable, "-c", source])
    try:
        pids = [int(text) for text in (tmp_path / "pids").read_text().split()]
        handles = [os.pidfd_open(pid) for pid in pids]
    finally:
        parent.kill()
        parent.wait()

    for handle in handles:  # readable once the process has ended
        assert polling.select([handle], [], [], 60)[0]
        os.close(handle)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_runtime_that_is_not_there", "No module named 'a_runtime_that_is_not_there'"),
        ("import os; os._exit(3)", r"the process died \(exit status 3\)"),
        ("import time; time.sleep(600)", "no answer within 1 s"),
    ],
)
def test_a_runtime_that_does_not_start_is_unavailable(
    tmp_path: Path, source: str, reason: str
) -> None:
    """With the reason; never a row of refusals that looks like the models' fault."""
    adapter = tmp_path / "broken.py"
    adapter.write_text(source)
    runtime = IsolatedRuntime(name="broken", version="0", adapter=str(adapter), pins=())

    # No fake starts slower than the one that sleeps, whose limit is the shortest.
    seconds = 1 if "sleep" in source else SECONDS
    with pytest.raises(RuntimeUnavailable, match=reason):
        _answers(runtime, tmp_path, "right", seconds=seconds)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_runtimes_answer_alike(tmp_path: Path) -> None:
    """Answers, refusals and a crash, as in Python."""
    adapter = tmp_path / "fake.mjs"
    adapter.write_text(FAKE_NODE)
    runtime = IsolatedRuntime(name="fake", version="9", adapter=str(adapter), pins=())

    assert _right(_answers(runtime, tmp_path, "right"))
    refused = _answers(runtime, tmp_path, "refuses")
    assert _reasons(refused) == ["Error: no such operator: LSTM"] * 2
    died = _answers(runtime, tmp_path, "dies")
    assert isinstance(died[0], dict)
    assert "the process died (SIGABRT)" in _reasons(died)[1]


def test_names_select_runtimes() -> None:
    """All, or some in the tables' order; an unknown one is answered with the nearest."""
    assert select("all") == tuple(descriptions())
    assert select("tract, onnxruntime") == ("onnxruntime", "tract")
    with pytest.raises(
        UsageError, match="no runtime is called 'opnvino': did you mean openvino or opencv\\?"
    ):
        select("opnvino")
    with pytest.raises(UsageError, match="names no runtime"):
        select(",")


def test_every_pin_is_exact() -> None:
    """The same table gives the same environment on every machine."""
    for runtime in ISOLATED:
        pattern = r"@?[\w./-]+@\d[\w.]*" if runtime.on_node else r"[\w-]+==\d[\w.]*"
        for pin in (*runtime.pins, *runtime.alone):
            assert re.fullmatch(pattern, pin), pin
        assert runtime.script.is_file(), runtime.script
        assert runtime.note, runtime.name


def test_the_oldest_onnxruntime_is_the_one_that_pyproject_allows() -> None:
    """Its floor is a promise, so that is what is measured."""
    pyproject = Path(__file__).parents[3] / "pyproject.toml"
    (requirement,) = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]["cpu"]
    (oldest,) = (item for item in ISOLATED if item.name == "onnxruntime-oldest")
    floor = re.search(r">=([\d.]+)", requirement)

    assert floor is not None
    assert oldest.version.startswith(f"{floor[1]}.")


@pytest.mark.parametrize("script", sorted(RUNNERS.glob("*.py")), ids=lambda path: path.name)
def test_a_runner_imports_neither_the_zoo_nor_its_neighbours(script: Path) -> None:
    """It runs in an environment that has neither."""
    nodes = list(ast.walk(ast.parse(script.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}

    assert not roots & {
        "",
        "zoo",
        "zoo_server",
        "zoo_proto",
        *(path.stem for path in RUNNERS.iterdir()),
    }


def test_without_node_its_runtimes_are_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said with the program that is missing, and nothing is left behind."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    (runtime,) = (item for item in ISOLATED if item.name == "onnxruntime-node")

    with pytest.raises(RuntimeUnavailable, match="node is not installed"):
        prepare(runtime, tmp_path / "compat")
    assert not (tmp_path / "compat").exists()
