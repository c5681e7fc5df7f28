"""One loaded version: from a request to its answer.

    check ──> [seat of the scheduler] ──> run the graph ──> write the outputs

Dynamic batching will take the seat in the middle: today every checked request is run at once, alone.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from server import tensors
from server.errors import ExecutionError
from server.inference.classification import classify
from server.inference.messages import InferRequest, InferResponse, OutputRequest, OutputTensor
from server.inference.validation import CheckedRequest, RequestChecker
from server.repository.settings import ModelSettings, OutputSettings, reshape_dims
from server.telemetry.statistics import ModelStatistics, Timeline


class Graph(Protocol):
    """What runs: server.runtime.session.Session, or a fake in a test."""

    provider: str

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray[Any, Any]]
    ) -> list[np.ndarray[Any, Any]]:
        """Return the named outputs, in order; ExecutionError if the graph fails."""


class LoadedModel:
    """A version that can be asked; `infer` may be called from any number of threads at once."""

    def __init__(self, settings: ModelSettings, graph: Graph) -> None:
        self.settings = settings
        self.statistics = ModelStatistics()
        self._graph = graph
        self._checker = RequestChecker(settings)

    @property
    def provider(self) -> str:
        """The execution provider its session runs on, by our short name."""
        return self._graph.provider

    def infer(self, request: InferRequest) -> InferResponse:
        """Answer one request.

        InvalidRequest if it does not fit the model, ExecutionError if the graph fails.
        """
        arrived = time.perf_counter_ns()
        checked = self._checker.check(request)
        queued = started = time.perf_counter_ns()  # the scheduler's wait would lie between these
        try:
            names = [settings.name for settings, _ in checked.outputs]
            input_ready = time.perf_counter_ns()
            arrays = self._graph.run(names, checked.feeds)
            inferred = time.perf_counter_ns()
            outputs = self._write(checked, arrays)
        except Exception:
            self.statistics.record_failure(time.perf_counter_ns() - arrived)
            raise
        finished = time.perf_counter_ns()
        self.statistics.record_success(
            checked.batch_size or 1,
            Timeline(arrived, queued, started, input_ready, inferred, finished),
        )
        return InferResponse(
            model_name=self.settings.name,
            model_version=str(self.settings.version),
            id=request.id,
            outputs=outputs,
        )

    def _write(
        self, checked: CheckedRequest, arrays: list[np.ndarray[Any, Any]]
    ) -> tuple[OutputTensor, ...]:
        return tuple(
            self._output(settings, asked, array, checked.batch_size)
            for (settings, asked), array in zip(checked.outputs, arrays, strict=True)
        )

    def _output(
        self,
        settings: OutputSettings,
        asked: OutputRequest,
        array: np.ndarray[Any, Any],
        batch_size: int,
    ) -> OutputTensor:
        if batch_size and (array.ndim == 0 or array.shape[0] != batch_size):
            raise ExecutionError(
                f"output '{settings.name}' has shape {list(array.shape)} for a batch of {batch_size}"
            )
        if asked.classes:
            return classify(settings, array, asked.classes, batch_size)
        shape = array.shape
        if settings.graph_dims != settings.dims:
            batch, rest = (shape[:1], shape[1:]) if batch_size else ((), shape)
            shape = (*batch, *reshape_dims(rest, settings.graph_dims, settings.dims))
        raw = b""
        if asked.destination is not None:
            asked.destination.write(settings.name, settings.datatype, array)
        else:
            raw = tensors.to_raw(settings.datatype, array)
        return OutputTensor(
            name=settings.name, datatype=settings.datatype.wire, shape=shape, raw=raw
        )
