"""onnxruntime, loaded and configured: opens graphs as sessions.

onnxruntime is imported on first use, after its telemetry has been switched off in the environment,
which it reads when it starts (its PyPI wheels report usage by default; onnxruntime#27379).
"""

import importlib
import logging
import os
from functools import partial
from pathlib import Path
from typing import cast
from weakref import WeakSet

from zoo_server.backends.onnxruntime import assignment, providers
from zoo_server.backends.onnxruntime.bfloat16 import ValueRun, has_bfloat16
from zoo_server.backends.onnxruntime.error_text import one_line, without_paths
from zoo_server.backends.onnxruntime.isolated import IsolatedRuntime, IsolatedSession
from zoo_server.backends.onnxruntime.library import (
    InferenceSession,
    Onnxruntime,
    Run,
    SessionOptions,
)
from zoo_server.backends.onnxruntime.plugins import Plugins
from zoo_server.backends.onnxruntime.session import Session
from zoo_server.backends.onnxruntime.session_options import (
    inter_op_threads,
    run_options,
    session_options,
)
from zoo_server.backends.onnxruntime.strings import StringRun, has_strings
from zoo_server.backends.onnxruntime.threads import ThreadLimiter
from zoo_server.errors import ModelLoadError, RuntimeMissing
from zoo_server.inference.cancellation import Cancellation
from zoo_server.model_config import Isolation, SessionSettings
from zoo_server.repository.graph_file import GraphFile, read_graph

#: What onnxruntime does where nothing is asked of it.
DEFAULT_SETTINGS = SessionSettings()

_LOG = logging.getLogger(__name__)


class Runtime:
    """onnxruntime, loaded and configured; opens sessions."""

    def __init__(self, *, provider: str, threads: int, memory_bytes: int = 0) -> None:
        """Load onnxruntime; RuntimeMissing if neither of its wheels is installed.

        `memory_bytes` is what the process may take, 0 without limit. Where there is one, memory is given
        back after each run: an arena that was refused a large piece takes all that is left, and keeps it.
        """
        self._provider = provider
        self._memory_bytes = memory_bytes
        #: The sessions in processes of their own that are open.
        self._isolated: WeakSet[IsolatedSession] = WeakSet()
        #: The budget: the most threads of one session, and of all that run at once.
        self.threads = threads
        self._limiter = ThreadLimiter(threads)
        self._onnxruntime = _import_onnxruntime()
        self.version = self._onnxruntime.__version__
        # Raised here if the wheel lacks it: no model could load.
        self._plugins = Plugins(self._onnxruntime)
        self._choose(DEFAULT_SETTINGS, threads)

    def open(
        self,
        path: Path,
        threads: int,
        cancellation: Cancellation,
        settings: SessionSettings = DEFAULT_SETTINGS,
    ) -> Session:
        """Load a graph from a file, to run with so many threads; it can be cancelled between steps.

        ModelLoadError says in one line why it cannot be served.
        """
        _check_file(path)
        module = self._onnxruntime
        file = read_graph(path)
        choice = self._choose(settings, threads)
        options = self._options(
            path,
            threads,
            settings,
            says_why=bool(choice.required) and choice.names != [providers.CPU],
        )
        self._prepare(options, choice)
        if hasattr(options, "set_load_cancellation_flag"):  # from 1.22 on
            cancellation.on_cancel(partial(options.set_load_cancellation_flag, True))
        try:
            session = self._inference_session(path, file, options, choice)
        except Exception as error:
            if choice.required or choice.names == [providers.CPU]:
                raise ModelLoadError(_load_reason(path, error)) from error
            session = self._open_on_cpu(path, file, threads, settings, error)
        provider = providers.session_provider(choice, session.get_providers())
        try:
            return Session(
                session,
                provider,
                max(threads, inter_op_threads(threads, settings)),
                self._limiter,
                file.traits,
                run_options(module, settings, arena=not self._memory_bytes),
                _run_of(session, module),
                self._memory_bytes,
                assignment.node_counts(session, path) if choice.names[1:] else (),
            )
        except UnicodeDecodeError:  # onnxruntime takes them, and its Python interface does not
            raise ModelLoadError(
                f"{_place(path)} names an input, output or dimension in bytes that are not UTF-8"
            ) from None

    def isolated(self, isolation: Isolation) -> "IsolatedRuntime":
        """Return an opener that loads each graph in a process of its own, with these limits."""
        return IsolatedRuntime(
            self.version, self._provider, self._limiter, isolation, self._isolated
        )

    def close(self) -> None:
        """End the processes of isolated models; their further runs are refused."""
        for session in list(self._isolated):
            session.close()

    def _choose(self, settings: SessionSettings, threads: int) -> providers.ProviderChoice:
        """Return a session's providers; ProviderError also for a plugin that finds no device here."""
        available = [*self._onnxruntime.get_available_providers(), *self._plugins.names]
        choice = providers.choose(self._provider, settings, available, threads)
        for name in self._plugged(choice):
            self._plugins.device(name)
        return choice

    def _plugged(self, choice: providers.ProviderChoice) -> list[str]:
        return [name for name in choice.names if name in self._plugins.names]

    def _prepare(self, options: SessionOptions, choice: providers.ProviderChoice) -> None:
        """Give a session's options the providers, where a plugin's is among them."""
        if choice.names[1:]:
            options.add_session_config_entry(assignment.RECORD, "1")
        if self._plugged(choice):
            for name, its_options in choice.providers[:-1]:  # the CPU comes by itself
                if name in self._plugins.names:
                    self._plugins.add(options, name, its_options)
                else:
                    options.add_provider(name, its_options)

    def _options(
        self, path: Path, threads: int, settings: SessionSettings, *, says_why: bool = False
    ) -> SessionOptions:
        """Return onnxruntime's options; for a provider asked for by name its log alone says a cause."""
        arena = not self._memory_bytes
        return session_options(
            self._onnxruntime, path, threads, settings, arena=arena, says_why=says_why
        )

    def _inference_session(
        self,
        path: Path,
        file: GraphFile,
        options: SessionOptions,
        choice: providers.ProviderChoice,
    ) -> InferenceSession:
        """Load with the chosen providers; raises whatever onnxruntime does."""
        return self._onnxruntime.InferenceSession(
            file.guarded or str(path),
            sess_options=options,
            # Where a plugin's is among them they are in the options, in the same order.
            providers=None if self._plugged(choice) else list(choice.providers),
            enable_fallback=0,  # its fall-back prints to stdout and hides what failed
        )

    def _open_on_cpu(
        self,
        path: Path,
        file: GraphFile,
        threads: int,
        settings: SessionSettings,
        cause: Exception,
    ) -> InferenceSession:
        """Load with `auto` where the better provider raised instead of standing aside."""
        _LOG.warning("%s: only the CPU can run it: %s", path.name, one_line(cause))
        try:
            return self._onnxruntime.InferenceSession(
                file.guarded or str(path),
                sess_options=self._options(path, threads, settings),
                providers=[providers.CPU],
            )
        except Exception as error:
            raise ModelLoadError(_load_reason(path, error)) from error


def _run_of(session: InferenceSession, module: Onnxruntime) -> Run | None:
    """Return what stands in for the session's own `run`, None where nothing need."""
    if has_bfloat16(session):
        return ValueRun(session, module.OrtValue)
    return StringRun(session, module) if has_strings(session) else None


def _import_onnxruntime() -> Onnxruntime:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        module = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise RuntimeMissing(
            "onnxruntime is not installed: pip install 'layer-zoo[cpu]' (or 'layer-zoo[gpu]')"
        ) from None
    module.disable_telemetry_events()
    if "CUDAExecutionProvider" in module.get_available_providers() and hasattr(
        module, "preload_dlls"
    ):
        module.preload_dlls()  # finds CUDA and cuDNN where pip put them
    return cast("Onnxruntime", module)


def _check_file(path: Path) -> None:
    try:
        if path.stat().st_size == 0:
            raise ModelLoadError(f"{_place(path)} is empty")
        if not path.is_file():
            raise ModelLoadError(f"{_place(path)} is not a file")
    except OSError as error:
        raise ModelLoadError(f"{_place(path)} cannot be read: {error.strerror}") from None


def _place(path: Path) -> str:
    """Return VERSION/FILE: enough to find it, and no path of this machine goes over the wire."""
    return f"{path.parent.name}/{path.name}"


def _load_reason(path: Path, error: Exception) -> str:
    return f"{_place(path)} cannot be loaded: {without_paths(error, path.parent)}"
