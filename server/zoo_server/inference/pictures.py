"""Files of pictures as inputs: a model whose configuration describes its image takes JPEG and PNG as well.

    request with BYTES ──> a thread for pictures: decode, prepare ──> values ──> the model's scheduler

The values are those of `zoo predict`: both call zoo_server.images. What a picture takes in memory is known
from its head and accounted for before anything is decoded; one of too many pixels is refused.
"""

import base64
import binascii
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from zoo_server.errors import Cancelled, ExecutionError, InvalidRequest, QueueFull
from zoo_server.images.reading import UnreadablePicture, open_picture, values_of
from zoo_server.inference.execution import Rows
from zoo_server.inference.plan import Data
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.inference.run_watch import RunWatch
from zoo_server.inference.validation import RequestChecker
from zoo_server.limits import MemoryBudget, Reservation
from zoo_server.model_config import InputSettings
from zoo_server.schedulers.scheduler import UNBOUNDED, Answers, Scheduler

#: Pillow's names of the formats that are read.
FORMATS = ("JPEG", "PNG")

#: The most pixels of one picture: 8192 × 4096.
MOST_PIXELS = 1 << 25

#: What a pixel takes at most while a picture becomes values: measured, 12 bytes for a photograph, 20 where
#: ink is looked for, 23 with transparency besides.
_PIXEL_BYTES = 24

#: How the files begin as base64.
_BASE64_SIGNATURES = (b"/9j/", b"iVBORw0KGgo")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureThreads:
    """What decodes the pictures of all models."""

    threads: Executor
    budget: MemoryBudget
    #: Ends what is left when the server leaves.
    watch: RunWatch
    #: How many requests of one model may wait to be read, 0 for any number.
    most_waiting: int = 0
    #: How long a request has a thread before the others that wait have their turn, in ns.
    turn_ns: int = 50_000_000


class PictureScheduler:
    """Reads the pictures of requests before their model's scheduler gets them (Scheduler)."""

    def __init__(
        self,
        model: str,
        inputs: Sequence[InputSettings],
        checker: RequestChecker,
        scheduler: Scheduler[QueuedRequest],
        answers: Answers[QueuedRequest, Rows],
        reader: PictureThreads,
    ) -> None:
        """`answers` refuses what cannot be read."""
        self._model = model
        self._inputs = {tensor.name: tensor for tensor in inputs if tensor.image is not None}
        self._checker = checker
        self._scheduler = scheduler
        self._answers = answers
        self._reader = reader
        self._lock = threading.Lock()
        self._reading = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn, or for their pictures to be read."""
        return self._scheduler.waiting + self._reading

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return self._scheduler.running

    def check(self, member: QueuedRequest) -> None:
        """Raise what a request would be refused with if it came now (Scheduler.check)."""
        self._scheduler.check(member)

    def submit(
        self,
        members: Sequence[QueuedRequest],
        inline_budget_ns: int = UNBOUNDED,
        *,
        stays: bool = False,
    ) -> None:
        """Hand over requests of numbers, and have the pictures of the others read."""
        numbers = [member for member in members if not member.plan.pictures]
        for member in members:
            if member.plan.pictures:
                self._enter(member)
        if numbers:
            self._scheduler.submit(numbers, inline_budget_ns, stays=stays)

    def _enter(self, member: QueuedRequest) -> None:
        most = self._reader.most_waiting
        with self._lock:
            full = bool(most) and self._reading >= most
            self._reading += not full
        if full:
            self._answers.refuse(member, QueueFull("Exceeds maximum queue size"))
        else:
            self._reader.threads.submit(self._read, member, self._rows(member))

    def _read(self, member: QueuedRequest, rows: Generator[None]) -> None:
        """Read pictures of a request until its turn is over; then the others' turn is first."""
        until_ns = time.perf_counter_ns() + self._reader.turn_ns
        try:
            with self._reader.watch.watching((member,)) as cancellation:
                for _ in rows:
                    now = time.perf_counter_ns()
                    if member.is_gone() or 0 < member.deadline_ns <= now:
                        raise Cancelled("the caller hung up before the pictures were read")
                    if cancellation.raised:
                        raise ExecutionError("the pictures were not read")
                    if now >= until_ns:
                        self._reader.threads.submit(self._read, member, rows)
                        return
        except Exception as error:
            rows.close()
            self._leave()
            self._answers.refuse(member, error)
            return
        self._leave()
        self._scheduler.submit((member,), 0)

    def _leave(self) -> None:
        with self._lock:
            self._reading -= 1

    def _rows(self, member: QueuedRequest) -> Generator[None]:
        """Put values in the place of a request's pictures; yields before each picture.

        The values count as decoded memory until the model's queue, which is bounded, counts them.
        """
        plan = member.plan
        arrays: list[Data] = []
        read: dict[str, np.ndarray] = {}
        reservation = Reservation(self._reader.budget)
        try:
            for planned, item in zip(plan.inputs, member.data, strict=True):
                if planned.name in plan.pictures:
                    assert isinstance(item, np.ndarray)
                    tensor = self._inputs[planned.name]
                    values = np.empty((len(item), *tensor.graph_dims), tensor.datatype.numpy)
                    reservation.take(values.nbytes)
                    for number, content in enumerate(item.tolist()):
                        yield
                        values[number] = self._row(tensor, content, number)
                    item = read[planned.name] = values if plan.batch_size else values[0]
                arrays.append(item)
        finally:
            reservation.release()
        member.nbytes = max(member.nbytes, sum(array.nbytes for array in read.values()))
        member.carry(self._checker.with_values(plan, read), arrays, member.parameters)

    def _row(self, tensor: InputSettings, content: bytes, number: int) -> np.ndarray:
        assert tensor.image is not None
        what = f"picture {number} of input '{tensor.name}' for model '{self._model}'"
        reservation = Reservation(self._reader.budget)

        def admit(pixels: int) -> None:
            if pixels > MOST_PIXELS:
                raise UnreadablePicture(
                    f"{what} has {pixels} pixels: at most {MOST_PIXELS} are read"
                )
            reservation.take(pixels * _PIXEL_BYTES)

        try:
            picture = open_picture(_decoded(content), what, formats=FORMATS, admit=admit)
            return values_of(picture, tensor.image).reshape(tensor.graph_dims)
        except UnreadablePicture as error:
            raise InvalidRequest(f"{error}; JPEG and PNG are read") from None
        finally:
            reservation.release()


def _decoded(content: bytes) -> bytes:
    """Return a file's bytes, also of one that came as base64: JSON has no bytes."""
    if not content.startswith(_BASE64_SIGNATURES):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        return content  # what it is then, the decoder says
