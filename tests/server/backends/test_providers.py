"""Which execution providers a session gets: --provider, and what config.pbtxt asks for."""

import pytest

from zoo_server.backends.onnxruntime import providers
from zoo_server.errors import ProviderError
from zoo_server.model_config import Accelerator, Placement, SessionSettings

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
TENSORRT, OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
PLAIN = SessionSettings()
ON_CPU, ON_GPU = (SessionSettings(placement=each) for each in (Placement.CPU, Placement.GPU))


def accelerated(name, *options):
    return SessionSettings(accelerators=(Accelerator(name=name, options=options),))


def names(provider, settings, *available):
    return providers.choose(provider, settings, available).names


def test_auto_asks_for_the_best_there_is():
    """`auto` asks for CUDA before the CPU where the wheel has it, and never for TensorRT."""
    assert names("auto", PLAIN, TENSORRT, CUDA, CPU) == [CUDA, CPU]
    assert names("auto", PLAIN, "AzureExecutionProvider", CPU) == [CPU]
    assert providers.session_provider(providers.choose("auto", PLAIN, [CPU]), [CPU]) == "cpu"


def test_named_provider_must_be_in_the_wheel():
    """A provider the wheel lacks is refused with what is available."""
    with pytest.raises(ProviderError, match=r"'cuda' is not available: .*; available: cpu$"):
        names("cuda", PLAIN, "AzureExecutionProvider", CPU)


def test_named_provider_must_be_in_the_created_session():
    """A session that quietly fell back to the CPU is refused: what it has counts."""
    choice = providers.choose("cuda", PLAIN, [CUDA, CPU])
    assert choice.names == [CUDA, CPU]
    with pytest.raises(ProviderError, match="could not set it up"):
        providers.session_provider(choice, [CPU])
    assert providers.session_provider(choice, [CUDA, CPU]) == "cuda"


def test_an_accelerator_goes_before_the_servers_provider():
    """With its options; TensorRT leaves to CUDA what it does not take, as in Triton."""
    settings = accelerated("tensorrt", ("trt_fp16_enable", "1"))
    chosen = providers.choose("cpu", settings, [TENSORRT, CUDA, CPU])

    assert chosen.providers == ((TENSORRT, {"trt_fp16_enable": "1"}), (CUDA, {}), (CPU, {}))
    assert chosen.required == ("tensorrt",)
    assert names("cuda", accelerated("openvino"), OPENVINO, CUDA, CPU) == [OPENVINO, CPU]
    with pytest.raises(ProviderError, match="'openvino' is not available"):
        names("auto", accelerated("openvino"), CPU)


def test_a_kind_of_instances_goes_before_the_servers_provider():
    """KIND_CPU stays on the CPU; KIND_GPU takes the server's GPU provider, or the best, or fails."""
    assert names("cuda", ON_CPU, CUDA, CPU) == [CPU]
    assert names("auto", ON_GPU, CUDA, CPU) == [CUDA, CPU]
    assert names("tensorrt", ON_GPU, TENSORRT, CUDA, CPU) == [TENSORRT, CUDA, CPU]
    for provider in ("auto", "cpu"):
        with pytest.raises(ProviderError, match=f"--provider {provider} no GPU is available"):
            names(provider, ON_GPU, CPU)


def test_options_of_cuda():
    """The GPU's number and Triton's older parameters reach CUDA, and an accelerator's come first."""
    settings = SessionSettings(
        placement=Placement.GPU,
        device=1,
        cuda=(("gpu_mem_limit", "5"), ("arena_extend_strategy", "kSameAsRequested")),
        accelerators=(Accelerator(name="cuda", options=(("gpu_mem_limit", "7"),)),),
    )
    chosen = providers.choose("auto", settings, [CUDA, CPU])

    assert chosen.providers[0] == (
        CUDA,
        {"device_id": "1", "gpu_mem_limit": "7", "arena_extend_strategy": "kSameAsRequested"},
    )


def test_memory_of_a_gpu_is_shrunk_only_on_one():
    """onnxruntime would refuse each run, and says nothing at the load."""
    settings = SessionSettings(shrinks="cpu:0;gpu:0")
    with pytest.raises(ProviderError, match="does not ask for a GPU's provider"):
        names("cpu", settings, CPU)
    assert names("cuda", settings, CUDA, CPU) == [CUDA, CPU]


@pytest.mark.gpu
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpus_provider_is_taken(repository, graphs, serve, provider):
    """With a GPU, a model asked to run on it says that it does."""
    import onnxruntime

    if providers.ONNXRUNTIME_NAMES[provider] not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no execution provider {provider}")
    repository.add("m", graphs.identity())
    with serve(repository.path, provider=provider) as wire:
        assert [model.provider for model in wire.server.catalog.loaded()] == [provider]
