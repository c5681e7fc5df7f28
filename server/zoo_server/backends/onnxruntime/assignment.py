"""Which provider took which nodes of a graph, as onnxruntime records it (from 1.24 on)."""

import logging
from collections import Counter
from pathlib import Path

from zoo_server.backends.onnxruntime.library import InferenceSession
from zoo_server.backends.onnxruntime.providers import short_name

_LOG = logging.getLogger(__name__)

#: The session entry that has it recorded.
RECORD = "session.record_ep_graph_assignment_info"

#: Of the operators that a provider left to another, so many are named.
_MOST_NAMED = 8


def node_counts(session: InferenceSession, path: Path) -> tuple[tuple[str, int], ...]:
    """Return how many nodes each provider took, by its short name, and log it.

    Empty where onnxruntime does not tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return ()
    operators: dict[str, Counter[str]] = {
        short_name(name): Counter() for name in session.get_providers()
    }
    for part in session.get_provider_graph_assignment_info():
        names = [node.op_type for node in part.get_nodes()]
        operators.setdefault(short_name(part.ep_name), Counter()).update(names)
    best, *others = operators
    total = sum(each.total() for each in operators.values())
    level = logging.INFO if operators[best] else logging.WARNING
    left = "; ".join(f"{name} has {_named(operators[name])}" for name in others if operators[name])
    place = f"{path.parent.parent.name}/{path.parent.name}"
    _LOG.log(
        level,
        "model %s: %s took %d of %d nodes%s",
        place,
        best,
        operators[best].total(),
        total,
        f"; {left}" if left else "",
    )
    return tuple((name, each.total()) for name, each in operators.items())


def _named(operators: Counter[str]) -> str:
    names = [f"{count} {name}" for name, count in operators.most_common(_MOST_NAMED)]
    return ", ".join([*names, "…"] if len(operators) > _MOST_NAMED else names)
