"""onnxruntime's SessionOptions and RunOptions for a model's settings (zoo_server.model_config)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from zoo_server.backends.onnxruntime.library import Onnxruntime, RunOptions, SessionOptions
from zoo_server.inference.cancellation import Cancellation
from zoo_server.model_config import GraphOptimization, SessionSettings

#: onnxruntime's names of levels.
_LEVELS = {
    GraphOptimization.NONE: "ORT_DISABLE_ALL",
    GraphOptimization.BASIC: "ORT_ENABLE_BASIC",
    GraphOptimization.EXTENDED: "ORT_ENABLE_EXTENDED",
    GraphOptimization.ALL: "ORT_ENABLE_ALL",
}

#: onnxruntime's severities: its errors reach us as exceptions too, and once is enough.
_ERROR, _FATAL = 3, 4


#: Gives the free memory of an arena back after a run, and that of the CPU's.
_SHRINKAGE, _CPU = "memory.enable_memory_arena_shrinkage", "cpu:0"

#: Inputs from so many bytes on leave behind an arena that seldom anybody needs again, in pieces that lie between
#: the messages on the heap. To get it anew does not show beside such a run.
_LARGE_INPUTS = 1 << 20

#: Makes the options of a run over inputs of so many bytes, which its cancellation ends; None where there are none.
MakeRunOptions = Callable[[Cancellation | None, int], RunOptions | None]


def session_options(
    module: Onnxruntime,
    path: Path,
    threads: int,
    settings: SessionSettings,
    *,
    arena: bool,
    says_why: bool,
) -> SessionOptions:
    """Return the options of a session for the graph at `path`; `module` is onnxruntime.

    Without `arena` there is none, whatever the settings say. `says_why`: its log shows errors.
    """
    options = module.SessionOptions()
    # Where a graph that is loaded from memory finds weights that lie in other files.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path.parent)
    )
    # An explicit count also keeps onnxruntime from pinning threads to CPUs it may not use.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = inter_op_threads(threads, settings)
    mode = module.ExecutionMode
    options.execution_mode = mode.ORT_PARALLEL if settings.parallel else mode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = arena and settings.arena
    options.enable_mem_pattern = settings.pattern
    options.graph_optimization_level = getattr(
        module.GraphOptimizationLevel, _LEVELS[settings.optimization]
    )
    # A spinning pool burns the CPU that its neighbours on the machine need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    for key, value in settings.entries:
        options.add_session_config_entry(key, value)
    options.log_severity_level = _ERROR if says_why else _FATAL
    return options


def inter_op_threads(threads: int, settings: SessionSettings) -> int:
    """Return the threads across nodes: one where nodes run one after the other."""
    return (settings.inter_op_threads or threads) if settings.parallel else 1


def run_options(module: Onnxruntime, settings: SessionSettings, *, arena: bool) -> MakeRunOptions:
    """Return what makes the options of runs; without `arena` there is none, whatever the settings say."""
    always = settings.shrinks if arena else ""
    after_large = always or (_CPU if arena and settings.arena else "")

    def make(cancellation: Cancellation | None, nbytes: int) -> RunOptions | None:
        shrinks = after_large if nbytes >= _LARGE_INPUTS else always
        if cancellation is None and not shrinks:
            return None
        options = module.RunOptions()
        if shrinks:
            options.add_run_config_entry(_SHRINKAGE, shrinks)
        if cancellation is not None:
            cancellation.on_cancel(partial(setattr, options, "terminate", True))
        return options

    return make
