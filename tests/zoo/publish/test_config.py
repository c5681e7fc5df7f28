"""config.pbtxt of graphs that take one row at a time, and of those whose states a server keeps."""

from typing import Any

from zoo.publish.config import model_config


def _graph(inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        side: [
            {"name": name, "datatype": "FP32", "shape": shape} for name, shape in tensors.items()
        ]
        for side, tensors in (("inputs", inputs), ("outputs", outputs))
    }


def test_a_cache_begins_empty_and_is_not_the_clients() -> None:
    """Triton leaves a first state uninitialised unless it is told what it is."""
    graph = _graph(
        {"token": ["batch", 1], "cache": ["batch", 2, "cache_2"]},
        {"logits": ["batch", 9], "next": ["batch", 2, "next_2"]},
    )
    config = model_config("gpt", graph, states={"cache": "next"})
    (state,) = config.sequence_batching.state

    assert ([t.name for t in config.input], [t.name for t in config.output]) == (
        ["token"],
        ["logits"],
    )
    assert config.max_batch_size > 1
    assert (state.input_name, state.output_name, list(state.dims)) == ("cache", "next", [2, -1])
    assert [(list(s.dims), s.zero_data) for s in state.initial_state] == [([2, 0], True)]


def test_a_graph_of_one_batch_is_not_batched() -> None:
    """Its dimensions are all of them, and requests are not joined."""
    graph = _graph({"x": [1, "time"], "h_before": [1, 3]}, {"y": [1, 4], "h_after": [1, 3]})
    config = model_config("one", graph, states={"h_before": "h_after"})
    plain = model_config("plain", graph)

    assert config.max_batch_size == 0
    assert [list(t.dims) for t in (*config.input, *config.output)] == [[1, -1], [1, 4]]
    assert [list(s.dims) for s in config.sequence_batching.state] == [[1, 3]]
    assert not plain.HasField("dynamic_batching")
