"""One loaded graph: its inputs and outputs, and its runs."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from zoo_server.backends.onnxruntime.error_text import is_out_of_memory, memory_reason, one_line
from zoo_server.backends.onnxruntime.library import InferenceSession, Run, Tensor
from zoo_server.backends.onnxruntime.session_options import MakeRunOptions
from zoo_server.backends.onnxruntime.threads import ThreadLimiter
from zoo_server.datatypes import TensorSpec, by_onnx
from zoo_server.errors import ExecutionError, InvalidRequest, MemoryExhausted, ModelLoadError
from zoo_server.inference.cancellation import Cancellation
from zoo_server.model_config import GraphTraits
from zoo_server.repository.graph_file import GUARD
from zoo_server.schedulers.scheduler import WouldWait

#: What onnxruntime says where a guard of the graph has failed.
_GUARDED = re.compile(rf"{re.escape(GUARD)}(\w+)")


class Session:
    """One loaded graph. `run` may be called from any number of threads at once."""

    def __init__(
        self,
        session: InferenceSession,
        provider: str,
        threads: int,
        limiter: ThreadLimiter,
        traits: GraphTraits,
        run_options: MakeRunOptions,
        run: Run | None = None,
        memory_bytes: int = 0,
        nodes: tuple[tuple[str, int], ...] = (),
    ) -> None:
        """`run_options` makes onnxruntime's of each run; `run` stands in for the session's own.

        `memory_bytes` is what the process may take, 0 without limit.
        """
        self._memory_bytes = memory_bytes
        #: How many nodes each provider took, where it is not the CPU alone.
        self.nodes = nodes
        self._run_options = run_options
        # Its `run` checks again, in Python, what zoo_server.inference.validation has checked.
        self._run = run or getattr(session, "_sess", session).run
        self._limiter = limiter
        self.provider = provider
        self.traits = traits
        #: Threads of one run.
        self.threads = threads
        self.inputs = (
            *(_spec("input", value) for value in session.get_inputs()),
            *(_spec("input", value, True) for value in session.get_overridable_initializers()),
        )
        self.outputs = tuple(_spec("output", value) for value in session.get_outputs())

    def run(
        self,
        outputs: Sequence[str],
        feeds: Mapping[str, np.ndarray],
        *,
        waits: bool = True,
        cancellation: Cancellation | None = None,
    ) -> list[np.ndarray]:
        """Return the named outputs, in order; strings go in and come out as objects of type str.

        ExecutionError if onnxruntime fails or is cancelled, between two nodes; InvalidRequest where a
        guard of the graph fails (server/zoo_server/repository/graph_file.py). Without `waits`, WouldWait
        if the threads that it computes with are not free.
        """
        nbytes = 0
        for array in feeds.values():
            nbytes += array.nbytes
        options = self._run_options(cancellation, nbytes)
        try:
            if self.threads == 1:
                results = self._run(outputs, feeds, options)
            else:
                with self._limiter.taking(self.threads, waits=waits):
                    results = self._run(outputs, feeds, options)
        except WouldWait:
            raise
        except Exception as error:  # its exceptions share no base below Exception
            guarded = _GUARDED.search(str(error))
            if guarded is not None:
                raise InvalidRequest(
                    f"the request leaves operator {guarded[1]} a tensor without elements, and it takes "
                    "one or more: send a larger input"
                ) from None
            if is_out_of_memory(error):
                raise MemoryExhausted(memory_reason(error, self._memory_bytes)) from error
            raise ExecutionError(one_line(error)) from error
        return results


def _spec(kind: str, value: Tensor, has_default: bool = False) -> TensorSpec:
    try:
        datatype = by_onnx(value.type)
    except ValueError:
        raise ModelLoadError(
            f"{kind} '{value.name}' is of type {value.type}, which the protocol cannot carry"
        ) from None
    return TensorSpec(
        name=value.name,
        datatype=datatype,
        shape=tuple(value.shape),
        has_default=has_default,
    )
