"""Asks a server for a model's answers, over the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from zoo.client import Client, ClientError
from zoo.client.errors import Unauthenticated
from zoo.errors import CheckFailed, UsageError, ZooError, did_you_mean
from zoo.models.interface import Array, Interface, Run, input_spec
from zoo_proto import model_config_pb2
from zoo_server import datatypes

T = TypeVar("T")

#: How the server is told who asks.
CREDENTIALS = (
    "give zoo.load a server=zoo.client.Client(ADDRESS, token=TOKEN), which takes tls= too; the commands have no "
    "option for them"
)


class RemoteBackend:
    """One model of a server; what it takes and gives comes from the server, never from disk."""

    def __init__(self, name: str, version: str, server: str | Client) -> None:
        """Ask for the model's configuration; raises UsageError for one that is not served."""
        # A call is not repeated: the caller waits, and is told at once.
        self._client = server if isinstance(server, Client) else Client(server, retries=0)
        self._owned = not isinstance(server, Client)
        self._version = version
        self._name = name
        try:
            self.interface = self._interface(
                self._call(lambda: self._client.config(name, version)),
                self._call(lambda: self._client.metadata(name, version)).versions,
            )
        except ZooError:
            self.close()
            raise

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs for tensors by name."""
        version = self._version
        return self._call(
            lambda: dict(
                self._client.infer_answer(self._name, dict(feeds), version=version).outputs
            )
        )

    def sequence(self) -> Run:
        """Return what sends one step of a sequence whose state the server keeps."""
        sequence = self._client.sequence(self._name, version=self._version)
        return lambda feeds: self._call(lambda: dict(sequence.infer(dict(feeds))))

    def close(self) -> None:
        """Close the connection, if it was opened here."""
        if self._owned:
            self._client.close()

    def _interface(
        self, config: model_config_pb2.ModelConfig, versions: tuple[str, ...]
    ) -> Interface:
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        batched = config.max_batch_size > 0
        return Interface(
            name=self._name,
            version=self._version or max(versions, key=int, default=""),
            inputs=tuple(
                input_spec(
                    tensor.name,
                    datatypes.by_config(model_config_pb2.DataType.Name(tensor.data_type)).numpy,
                    tuple(tensor.dims),
                    batched,
                    parameters,
                )
                for tensor in config.input
            ),
            outputs=tuple(tensor.name for tensor in config.output),
            parameters=parameters,
            stateful=config.HasField("sequence_batching"),
            rows=config.max_batch_size or 1,
        )

    def _call(self, call: Callable[[], T]) -> T:
        """Return what a call gives; its refusal becomes an error of the zoo's, with its status."""
        try:
            return call()
        except ClientError as error:
            raise self._error(error) from error

    def _error(self, error: ClientError) -> ZooError:
        """Return the server's refusal, with near matches for a model that it does not have."""
        if error.status != "NOT_FOUND":
            kind = UsageError if error.status == "INVALID_ARGUMENT" else CheckFailed
            cure = f": {CREDENTIALS}" if isinstance(error, Unauthenticated) else ""
            return kind(f"{error}{cure}")
        try:
            names = self._client.models()
            if self._name in names:  # the model is there, and not this version
                versions = ", ".join(self._client.metadata(self._name).versions)
                return UsageError(f"{error}; it serves version {versions}")
        except ClientError:
            return UsageError(str(error))
        from zoo.recipes.registry import version_hint

        served = f"it serves {', '.join(names)}" if names else "it serves no model"
        hint = version_hint(self._name, names) or did_you_mean(self._name, names) or served
        return UsageError(f"{error}; {hint}")
