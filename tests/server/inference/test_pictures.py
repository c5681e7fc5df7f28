"""Files of pictures as inputs: the values of `zoo predict`, on every wire, and what is not read."""

import base64
import io
import struct
import zlib
from collections import deque
from concurrent.futures import Executor
from functools import partial
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import requests
from PIL import Image as pillow
from PIL import ImageDraw

from tests.server.grpc_callers import infer_request
from tests.server.protocols.tfs import client as tf
from tests.waiting import until
from zoo.datasets.digits import SMALL_IMAGE as DIGIT
from zoo.models.inputs import tensors
from zoo.models.interface import input_spec
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto.tensorflow_framework_pb2 import DT_STRING
from zoo_server.datatypes import serialize_bytes
from zoo_server.errors import Cancelled, QueueFull, ServerExiting
from zoo_server.images.description import Image
from zoo_server.inference.pictures import PictureScheduler, PictureThreads
from zoo_server.inference.run_watch import RunWatch
from zoo_server.limits import MemoryBudget

PHOTO = Image(mode="RGB", size=(6, 8), low=-1.0, high=1.0)

#: Notes of a camera: turned by 90°, and the width as text, which Pillow reads and cannot write.
TEXT_FOR_A_NUMBER = struct.pack(
    ">2sHIH HHI4s HHIHH I",
    *(b"MM", 42, 8, 2),
    *(0x0100, 2, 4, b"abc\0"),
    *(0x0112, 3, 1, 6, 0),
    0,
)

MODELS = {"digit": DIGIT, "photo": PHOTO}


def dims(image):
    return (*image.size, 1 if image.mode == "L" else 3)


def encoded(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def drawing(mode="L"):
    """A bent stroke on paper, wider than high."""
    picture = pillow.new(mode, (70, 50), "white")
    ImageDraw.Draw(picture).line([(20, 8), (45, 12), (30, 42)], fill="black", width=5)
    return picture


def colours():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return pillow.fromarray(pixels)


def turned():
    exif = pillow.Exif()
    exif[0x0112] = 6
    return encoded(colours(), "JPEG", exif=exif)


def noted(notes):
    """A PNG with what a camera noted, as it is."""
    content = encoded(colours())
    return content[:33] + chunk(b"eXIf", notes) + content[33:]


PICTURES = {
    "a drawing": encoded(drawing()),
    "an empty sheet": encoded(pillow.new("L", (20, 20), "white")),
    "a photograph": encoded(colours(), "JPEG"),
    "one that the camera turned": turned(),
    "of four colours of print": encoded(colours().convert("CMYK"), "JPEG"),
    "with transparency": encoded(drawing("RGBA").resize((31, 17))),
    "of a palette": encoded(colours().convert("P")),
    "of 16 bits": encoded(
        pillow.fromarray((np.arange(400, dtype=np.uint16) * 160).reshape(20, 20))
    ),
    "whose camera noted nonsense": noted(b"nonsense"),
    "whose camera noted text for a number": noted(TEXT_FOR_A_NUMBER),
    "of one pixel": encoded(pillow.new("RGB", (1, 1), "red")),
}


def predicted(image, content):
    """Return what `zoo predict` gives a model of a file."""
    parameters = {"image": image.to_text()}
    spec = input_spec("x", np.dtype(np.float32), dims(image), True, parameters)
    return tensors([content], {}, [spec])["x"]


@pytest.fixture(scope="module")
def served(tmp_path_factory, graphs, serve):
    """Models that answer what they are given, each with its image, on every wire; one is cached."""
    path = tmp_path_factory.mktemp("pictures") / "models"
    for name, image in MODELS.items():
        folder = path / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(graphs.identity(shape=("batch", *dims(image))))
        text = image.to_text().replace('"', r"\"")
        config = (
            "max_batch_size: 8 dynamic_batching { } "
            f'parameters {{ key: "image" value {{ string_value: "{text}" }} }}'
        )
        cached = " response_cache { enable: true }" if name == "photo" else ""
        (path / name / "config.pbtxt").write_text(config + cached)
    with serve(path, http_port=0, cache_config=("local,size=100000",)) as wire:
        yield wire


def request(model, *files, shape=None):
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="BYTES", shape=shape or [len(files), 1])
    message.raw_input_contents.append(serialize_bytes(list(files)))
    return message


def ask(wire, message):
    answer = wire.stub.ModelInfer(message)
    return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(
        tuple(answer.outputs[0].shape)
    )


@pytest.mark.parametrize("content", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("model", MODELS)
def test_the_values_are_those_of_zoo_predict(model, content, served):
    """To the bit, for every kind of picture and both kinds of models; the second time from a cache."""
    expected = predicted(MODELS[model], content)
    for _ in range(2):
        assert ask(served, request(model, content)).tobytes() == expected.tobytes()


def test_every_wire_takes_files(served):
    """Raw, typed and base64; Open Inference, TensorFlow Serving's two and a body that is the file."""
    content = PICTURES["a drawing"]
    expected = predicted(DIGIT, content)
    text = base64.b64encode(content).decode()
    url = f"http://{served.server.http_address}"
    typed = pb.ModelInferRequest(model_name="digit")
    tensor = typed.inputs.add(name="x", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(content)
    strings = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": [text]}]}
    predict = tf.request("digit", x=tf.tensor(DT_STRING, (1,), string_val=[content]))
    answers = [
        ask(served, request("digit", content, shape=[1])),
        ask(served, typed),
        requests.post(f"{url}/v2/models/digit/infer", json=strings, timeout=20).json()["outputs"][0]["data"],
        requests.post(f"{url}/v1/models/digit:predict", json={"instances": [{"b64": text}]}, timeout=20).json()["predictions"],
        requests.post(f"{url}/v1/models/digit:predict", json={"inputs": {"x": [{"b64": text}]}}, timeout=20).json()["outputs"],
        tf.Client(served.channel).predict(predict).outputs["y"].float_val,
        np.frombuffer(
            requests.post(
                f"{url}/v2/models/digit/infer",
                data=content,
                headers={"Inference-Header-Content-Length": "0"},
                timeout=20,
            ).content[-256:],
            np.float32,
        ),
    ]  # fmt: skip
    for answer in answers:
        assert np.array_equal(np.asarray(answer, np.float32).ravel(), expected.ravel())


def test_files_and_numbers_are_batched_alike(served):
    """Several files in a request; numbers go on as before, also beside files in one run."""
    files = [PICTURES["a drawing"], PICTURES["an empty sheet"], PICTURES["with transparency"]]
    expected = np.concatenate([predicted(DIGIT, file) for file in files])
    assert np.array_equal(ask(served, request("digit", *files)), expected)
    calls = []
    for _ in range(4):
        calls.append(served.stub.ModelInfer.future(request("digit", *files)))
        calls.append(served.stub.ModelInfer.future(infer_request("digit", x=expected)))
    assert {call.result(timeout=20).raw_output_contents[0] for call in calls} == {
        expected.tobytes()
    }


def huge(side):
    """A PNG of a few hundred bytes that says it has so many rows and columns."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(9999)))
        + chunk(b"IEND", b"")
    )


WRONG = {
    "no picture": (request("digit", b"hello"), "unknown format; JPEG and PNG are read"),
    "another format": (request("digit", encoded(drawing(), "GIF")), "unknown format"),
    "one that ends early": (request("digit", PICTURES["a photograph"][:200]), "picture 0 of input 'x' for model 'digit' is not an image"),
    "a broken one": (request("digit", PICTURES["a drawing"][:60] + b"x" * 40), "is not an image that can be read"),
    "too many pixels": (request("digit", huge(8000)), "has 64000000 pixels: at most 33554432 are read"),
    "far too many": (request("digit", huge(60_000)), "is not an image that can be read: Image size"),
    "one of two": (request("digit", PICTURES["a drawing"], b"x"), "picture 1 of input 'x'"),
    "another shape": (request("digit", *[PICTURES["a drawing"]] * 4, shape=[2, 2]), "pictures come one a row, as [N] or [N, 1]"),
    "too few": (request("digit", PICTURES["a drawing"], shape=[2]), "for inference input 'x'"),
    "too many rows": (request("digit", *[b""] * 9), "batch-size must be <= 8"),
}  # fmt: skip


@pytest.mark.parametrize(("message", "text"), WRONG.values(), ids=WRONG)
def test_what_is_not_read_is_refused(message, text, served):
    """With which picture it was and why; nothing is kept reserved, and nothing waits on."""
    with pytest.raises(grpc.RpcError) as caught:
        served.stub.ModelInfer(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in caught.value.details()
    model = served.server.catalog.find("digit", "")
    until(
        lambda: (
            not (served.server.memory_budget.reserved or model.waiting or model.scheduler.running)
        )
    )


def test_only_an_input_that_is_said_to_be_an_image_takes_files(repository, graphs, serve):
    """Another program's parameter, another size, and no parameter: BYTES are another datatype."""
    for name, text in {"none": "", "other": "cats", "size": PHOTO.to_text()}.items():
        value = text.replace('"', r"\"")
        config = (
            f'parameters {{ key: "image" value {{ string_value: "{value}" }} }}' if text else ""
        )
        repository.add(
            name, graphs.identity(shape=("batch", 8, 8, 1)), f"max_batch_size: 8 {config}"
        )
    with serve(repository.path) as wire:
        for name in ("none", "other", "size"):
            with pytest.raises(grpc.RpcError, match="data-type is 'BYTES', but model"):
                ask(wire, request(name, PICTURES["a drawing"]))


def test_requests_whose_pictures_wait_are_bounded():
    """As those that wait for a run; what is refused is not read."""

    class Idle(Executor):
        """Threads that are all taken."""

        def submit(self, *arguments, **_):
            return None

    refused = []
    answers = SimpleNamespace(refuse=lambda member, error: refused.append((member, error)))
    threads = PictureThreads(
        threads=Idle(), budget=MemoryBudget(1), watch=RunWatch(), most_waiting=2
    )
    inner = SimpleNamespace(waiting=0, running=0)
    scheduler = PictureScheduler("m", (), None, inner, answers, threads)
    members = [SimpleNamespace(plan=SimpleNamespace(pictures=("x",))) for _ in range(3)]
    scheduler.submit(members)

    assert [(member, type(error)) for member, error in refused] == [(members[2], QueueFull)]
    assert scheduler.waiting == 2


class Line(Executor):
    """One thread, which the test lends."""

    def __init__(self):
        self.tasks = deque()

    def submit(self, task, *arguments, **_):
        self.tasks.append(partial(task, *arguments))

    def work(self):
        while self.tasks:
            self.tasks.popleft()()


class Caller(SimpleNamespace):
    """A request with pictures, which looks `patience` times for its answer."""

    def __init__(self, *files, patience=99):
        plan = SimpleNamespace(
            pictures=("x",), inputs=[SimpleNamespace(name="x")], batch_size=len(files)
        )
        data = [np.array(files, dtype=object)]
        looks = iter(range(patience))
        super().__init__(plan=plan, data=data, deadline_ns=0, nbytes=0, parameters={}, looks=looks)

    def is_gone(self):
        return next(self.looks, None) is None

    def carry(self, plan, data, parameters):
        self.data = data


@pytest.fixture
def lent():
    """A scheduler whose requests have one picture a turn, its thread, and what came of them."""
    budget, line, watch = MemoryBudget(1 << 30), Line(), RunWatch()
    ready, refused = [], []
    tensor = SimpleNamespace(
        name="x", image=PHOTO, graph_dims=dims(PHOTO), datatype=SimpleNamespace(numpy=np.float32)
    )
    scheduler = PictureScheduler(
        "m",
        (tensor,),
        SimpleNamespace(with_values=lambda plan, values: plan),
        SimpleNamespace(waiting=0, running=0, submit=lambda members, _: ready.extend(members)),
        SimpleNamespace(refuse=lambda member, error: refused.append((member, error))),
        PictureThreads(threads=line, budget=budget, watch=watch, turn_ns=0),
    )
    return SimpleNamespace(**locals())


def test_many_pictures_of_one_request_do_not_keep_the_others(lent):
    """After its turn a request is the last in the line; its message counts as what became of it."""
    photo = PICTURES["a photograph"]
    many, few = Caller(*[photo] * 3), Caller(photo)
    lent.scheduler.submit([many, few])
    lent.line.work()
    assert lent.ready == [few, many]
    assert np.array_equal(many.data[0], np.concatenate([few.data[0]] * 3))
    assert many.nbytes == 3 * few.nbytes == 3 * 6 * 8 * 3 * 4


def test_the_pictures_of_a_caller_that_left_are_not_read(lent):
    """Also where it leaves in the midst of them; nothing is kept."""
    caller = Caller(PICTURES["a photograph"], b"is not looked at", patience=1)
    lent.scheduler.submit([caller])
    lent.line.work()
    assert [(member, type(error)) for member, error in lent.refused] == [(caller, Cancelled)]
    assert lent.budget.reserved == lent.scheduler.waiting == 0


def test_a_server_that_leaves_reads_no_more(lent):
    """Once the time for those under way is over, they hear of it."""
    caller = Caller(PICTURES["a photograph"], b"is not looked at")
    lent.scheduler.submit([caller])
    lent.line.tasks.popleft()()
    lent.watch.close()
    lent.line.work()
    assert [(member, type(error)) for member, error in lent.refused] == [(caller, ServerExiting)]
    assert lent.budget.reserved == lent.scheduler.waiting == 0
