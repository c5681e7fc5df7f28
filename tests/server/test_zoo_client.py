"""The zoo's own client against the real server, from threads and from asyncio, over both transports."""

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from zoo.client import AsyncClient, Class, Client, errors
from zoo_server.datatypes import DATA_TYPES

SERVED = [row for row in DATA_TYPES if row.wire != "BF16"]  # no graph of BF16 is served yet


@pytest.fixture
def client(wire):
    """A client of the server that all tests share."""
    with Client(wire.address) as connected:
        yield connected


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.wire)
def test_every_datatype(row, client):
    """An identity gives back what a list of values means in the model's datatype."""
    values = [b"a\0", b"", b"\0", "größe".encode()] if row.byte_size is None else [1, 0, 1, 1]
    sent = [bool(value) for value in values] if row.wire == "BOOL" else values
    answer = client.infer(f"identity_{row.wire.lower()}", [sent])

    assert answer.dtype == row.numpy
    assert answer.shape == (1, 4)
    assert answer.ravel().tolist() == sent


def test_several_inputs_and_outputs(client):
    """A mapping in is a mapping out; outputs that are named are the only ones."""
    ones = np.ones((2, 16), np.int64)  # converted to the model's INT32
    both = client.infer("simple", {"INPUT0": ones, "INPUT1": ones * 2})
    one = client.infer("simple", {"INPUT0": ones, "INPUT1": ones}, outputs=["OUTPUT0"])

    assert {name: array[1, 0] for name, array in both.items()} == {"OUTPUT0": 3, "OUTPUT1": -1}
    assert list(one) == ["OUTPUT0"]


def test_versions(client):
    """The latest unless one is asked for; the answer says which it was."""
    assert client.infer_answer("versions", [[1, 2, 3, 4]], request_id="r").version == "3"
    assert client.infer_answer("versions", [[1, 2, 3, 4]], version="1").version == "1"
    assert client.metadata("versions").versions == ("1", "2", "3")


def test_classes(client):
    """Best first, with labels as far as there are any; no more than the model has."""
    rows = [[1, 4, 3, 2], [9, 0, 0, 5]]
    first, second = client.classify("classes", rows, top=2)

    assert first == [Class(value=4, index=1, label="dog"), Class(value=3, index=2, label="bird")]
    assert [(one.index, one.label) for one in second] == [(0, "cat"), (3, "")]
    assert [len(row) for row in client.classify("classes", rows, top=9)] == [4, 4]


def test_classes_of_a_model_without_a_batch(client):
    """Are one row."""
    (row,) = client.classify("unbatched", [[1.0, 3.0, 2.0]], top=1)

    assert row == [Class(value=3, index=1, label="")]


def test_what_is_there(client):
    """Names, readiness, configuration and metadata."""
    assert "simple" in client.models()
    assert client.ready()
    assert client.ready("simple")
    assert client.ready("simple", "1")
    assert not client.ready("nope")
    assert client.config("simple").max_batch_size == 8
    known = client.metadata("simple")
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in known.inputs] == [
        ("INPUT0", "INT32", (-1, 16)),
        ("INPUT1", "INT32", (-1, 16)),
    ]


@pytest.mark.parametrize(
    ("model", "inputs", "kind", "text"),
    [
        ("nope", [1], errors.NotFound, "unknown model"),
        ("fixed", [[1, 2]], errors.InvalidArgument, "unexpected shape for input 'x'"),
        ("fails", [[99]], errors.ClientError, "internal error, incident"),
    ],
)
def test_refusals(model, inputs, kind, text, client):
    """Arrive as their class, in the server's words."""
    with pytest.raises(errors.ClientError, match=text) as caught:
        client.infer(model, inputs)

    assert type(caught.value) is kind


def test_a_version_that_is_not_there(client):
    """NotFound, with its number."""
    with pytest.raises(errors.NotFound, match="version 9"):
        client.infer("versions", [[1, 2, 3, 4]], version="9")


def test_one_client_for_many_threads(client):
    """Each gets its own answer."""
    with ThreadPoolExecutor(8) as pool:
        rows = [np.full((1, 4), number, np.float32) for number in range(64)]
        answers = list(pool.map(lambda row: client.infer("identity_fp32", row), rows))

    assert [answer[0, 0] for answer in answers] == list(range(64))


def test_asyncio(wire):
    """The same methods, awaited; many requests share the connection."""

    async def run():
        async with AsyncClient(wire.address) as client:
            rows = [np.full((1, 4), number, np.float32) for number in range(32)]
            answers = await asyncio.gather(*(client.infer("identity_fp32", row) for row in rows))
            assert [answer[0, 0] for answer in answers] == list(range(32))
            assert await client.ready()
            assert "simple" in await client.models()
            assert (await client.metadata("simple")).outputs[0].name == "OUTPUT0"
            assert (await client.config("simple")).max_batch_size == 8
            assert (await client.infer_answer("versions", [[1, 2, 3, 4]])).version == "3"
            ((best,),) = await client.classify("classes", [[1, 4, 3, 2]], top=1)
            assert best.label == "dog"
            with pytest.raises(errors.NotFound, match="unknown model"):
                await client.infer("nope", [1])

    asyncio.run(run())


def test_parameters_arrive(client):
    """Of every type; one that the server takes otherwise is refused in its words."""
    row = [[1, 2, 3, 4]]
    known = {"priority": 1, "timeout": 1000}
    own = {"flag": False, "count": -1, "ratio": 0.5, "word": "w"}
    assert client.infer("identity_fp32", row, parameters={**known, **own}).tolist() == row

    for key, value, text in [
        ("timeout", 0.5, "'timeout' parameter, expected int64_param"),
        ("priority", True, "'priority' parameter, expected int64_param or uint64_param"),
        ("triton_x", 1, "starting with 'triton_' are reserved"),
    ]:
        with pytest.raises(errors.InvalidArgument, match=text):
            client.infer("identity_fp32", row, parameters={key: value})


def test_a_timeout_in_the_queue(repository, graphs, serve):
    """`timeout` is the server's, in microseconds: a request that would wait for longer is refused."""
    policy = "default_queue_policy { allow_timeout_override: true }"
    delay = "max_queue_delay_microseconds: 400000"
    repository.add(
        "m", graphs.identity(), f"max_batch_size: 8 dynamic_batching {{ {delay} {policy} }}"
    )
    with serve(repository.path) as wire, Client(wire.address, retries=0) as client:
        client.infer("m", [[1, 2, 3, 4]], parameters={"timeout": 10_000_000})
        with pytest.raises(errors.Unavailable, match="Request timeout expired"):
            client.infer("m", [[1, 2, 3, 4]], parameters={"timeout": 1000})


SUMS = """
max_batch_size: 8
sequence_batching {
  max_sequence_idle_microseconds: IDLE
  state [{ input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] }]
}
"""


@pytest.fixture
def summing(repository, graphs, serve):
    """Serve "m", a running sum whose sequences the server forgets after so many seconds."""

    def begin(idle=30.0):
        repository.add("m", graphs.sums(), SUMS.replace("IDLE", str(round(idle * 1e6))))
        return serve(repository.path)

    return begin


def test_sequences_keep_their_own_state(summing):
    """Interleaved; one that was ended begins anew."""
    with summing() as wire, Client(wire.address) as client:
        one, ten = client.sequence("m"), client.sequence("m", version="1")
        sums = [(one.infer([[1]])[0, 0], ten.infer([[10]])[0, 0]) for _ in range(3)]
        last = one.infer([[1]], end=True)[0, 0], ten.infer_answer({"x": [[10]]}).outputs["y"][0, 0]
        after = one.infer([[1]])[0, 0], ten.infer([[10]])[0, 0]

    assert sums == [(1, 10), (2, 20), (3, 30)]
    assert last == (4, 40)
    assert after == (1, 50)


def test_a_refused_step_leaves_the_state(summing):
    """What does not fit the model is refused by the server, and the sum goes on without it."""
    with summing() as wire, Client(wire.address) as client:
        steps = client.sequence("m")
        for bad in ([[1, 2]], [[1], [2]]):
            with pytest.raises(errors.InvalidArgument, match=r"unexpected shape|batch-size 1"):
                steps.infer(bad)
        steps.infer([[1]])
        for bad in ([[1, 2]], [[1], [2]]):
            with pytest.raises(errors.InvalidArgument, match=r"unexpected shape|batch-size 1"):
                steps.infer(bad, end=True)

        assert steps.infer([[1]]).tolist() == [[2]]


def test_a_forgotten_sequence_is_lost(summing):
    """After too long a silence the client says so, and begins no other by itself."""
    with summing(idle=0.1) as wire, Client(wire.address) as client:
        steps = client.sequence("m")
        steps.infer([[1]])
        time.sleep(0.2)
        for _ in range(2):
            with pytest.raises(errors.SequenceLost, match="the server has forgotten it"):
                steps.infer([[1]])

        assert client.sequence("m").infer([[1]]).tolist() == [[1]]


def test_sequences_for_asyncio(summing):
    """The same, awaited; many sequences at once, each with its own sum."""

    async def run():
        async with AsyncClient(wire.address) as client:

            async def summed(value):
                steps = client.sequence("m")
                answers = [await steps.infer([[value]]) for _ in range(3)]
                answers.append(await steps.infer([[value]], end=True))
                answers.append((await steps.infer_answer([[value]])).outputs["y"])
                return [answer[0, 0] for answer in answers]

            return await asyncio.gather(*map(summed, range(1, 9)))

    with summing() as wire:
        sums = asyncio.run(run())

    assert sums == [[value, 2 * value, 3 * value, 4 * value, value] for value in range(1, 9)]


def test_a_restart_is_outlasted(repository, graphs, serve):
    """A request that meets a server that is being replaced is answered by the next one."""
    repository.add("m", graphs.identity())
    with serve(repository.path) as wire:
        port = wire.server.grpc_port
        client = Client(wire.address, timeout=20)
        client.infer("m", [[1, 2, 3, 4]])
    with client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.infer, "m", [[1, 2, 3, 4]])
        with serve(repository.path, grpc_port=port):
            assert answer.result(20).tolist() == [[1, 2, 3, 4]]


def test_the_client_is_light():
    """It loads no framework, and of the server the dtype table only, with what gives that its memory."""
    program = (
        "import sys, zoo.client;"
        "heavy = {'tensorflow', 'keras', 'onnx', 'onnxruntime', 'zoo_server.server', 'zoo_server.protocols',"
        " 'zoo_proto.tensorflow_serving_pb2'};"
        "print(sorted(heavy & set(sys.modules)),"
        " sorted(name for name in sys.modules if name.startswith('zoo_server.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True
    )

    assert done.stdout.strip() == "[] ['zoo_server.datatypes', 'zoo_server.malloc']"
