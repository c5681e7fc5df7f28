"""Files of pictures as inputs: a model whose configuration describes its image takes JPEG and PNG as well.

    request with BYTES ──> a thread for pictures: decode, prepare ──> values ──> the model's scheduler

The values are those of `zoo predict`: both call zoo_server.images. What a picture takes in memory is known
from its head and accounted for before anything is decoded; one of too many pixels is refused.
"""

import base64
import binascii
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from zoo_server.errors import Cancelled, InvalidRequest, QueueFull
from zoo_server.images.reading import UnreadablePicture, open_picture, values_of
from zoo_server.inference.execution import Rows
from zoo_server.inference.plan import Data, Plan
from zoo_server.inference.queued_request import QueuedRequest
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
    #: How many requests of one model may wait to be read, 0 for any number.
    most_waiting: int = 0


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
            self._reader.threads.submit(self._read, member)

    def _read(self, member: QueuedRequest) -> None:
        try:
            if member.is_gone() or 0 < member.deadline_ns <= time.perf_counter_ns():
                raise Cancelled("the caller hung up before the pictures were read")
            plan, data = self._prepared(member.plan, member.data)
            member.carry(plan, data, member.parameters)
        except Exception as error:
            self._answers.refuse(member, error)
            return
        finally:
            with self._lock:
                self._reading -= 1
        self._scheduler.submit((member,), 0)

    def _prepared(self, plan: Plan, data: Sequence[Data]) -> tuple[Plan, list[Data]]:
        """Return the plan and the data of a request with values in the place of its pictures."""
        arrays: list[Data] = []
        read: dict[str, np.ndarray] = {}
        for planned, item in zip(plan.inputs, data, strict=True):
            if planned.name in plan.pictures:
                assert isinstance(item, np.ndarray)
                item = read[planned.name] = self._values(self._inputs[planned.name], plan, item)
            arrays.append(item)
        return self._checker.with_values(plan, read), arrays

    def _values(self, tensor: InputSettings, plan: Plan, files: np.ndarray) -> np.ndarray:
        """Return the values of an input's pictures, as the graph takes them."""
        rows = [
            self._row(
                tensor,
                content,
                f"picture {number} of input '{tensor.name}' for model '{self._model}'",
            )
            for number, content in enumerate(files.reshape(-1).tolist())
        ]
        batch = (plan.batch_size,) if plan.batch_size else ()
        return np.asarray(np.stack(rows), tensor.datatype.numpy).reshape(*batch, *tensor.graph_dims)

    def _row(self, tensor: InputSettings, content: bytes, what: str) -> np.ndarray:
        assert tensor.image is not None
        reservation = Reservation(self._reader.budget)

        def admit(pixels: int) -> None:
            if pixels > MOST_PIXELS:
                raise UnreadablePicture(
                    f"{what} has {pixels} pixels: at most {MOST_PIXELS} are read"
                )
            reservation.take(pixels * _PIXEL_BYTES)

        try:
            picture = open_picture(_decoded(content), what, formats=FORMATS, admit=admit)
            return values_of(picture, tensor.image)
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
