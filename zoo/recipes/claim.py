"""Claims: the metric that a recipe's docstring promises, parsed so that training can check it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: The metrics a claim may speak of, and the relation that means "at least as good as".
METRICS: Mapping[str, str] = {"accuracy": ">=", "mean absolute error": "<="}

CLAIM = re.compile(
    r"Reaches: (?P<metric>[a-z ]+?) (?P<relation>>=|<=) (?P<value>\d+(?:\.\d+)?)"
    r" on (?P<rows>\d+) held-out (?P<what>[^,]+), in about (?P<seconds>\d+(?:\.\d+)?) s"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a recipe says it reaches on its test split, in the metric's natural units."""

    text: str
    metric: str
    relation: str
    value: float
    rows: int
    what: str
    seconds: float

    def holds(self, measured: float) -> bool:
        """Tell whether a measured metric is at least as good as claimed (NaN never is)."""
        return measured >= self.value if self.relation == ">=" else measured <= self.value

    @classmethod
    def parse(cls, docstring: str) -> Claim:
        """Read the line that begins with `Reaches:`, which may be wrapped.

        Raises ValueError, in words for the recipe's author, when there is none or it is malformed.
        """
        text = next(
            (
                " ".join(part.split())
                for part in docstring.split("\n\n")
                if part.strip().startswith("Reaches:")
            ),
            None,
        )
        example = "Reaches: accuracy >= 0.9 on 30 held-out flowers, in about 3 s on two cores."
        if text is None:
            raise ValueError(f"has no claim: add a paragraph such as {example!r}")
        match = CLAIM.match(text)
        if match is None:
            raise ValueError(f"claims {text!r}, which cannot be read: write it as {example!r}")
        facts = match.groupdict()
        relation = METRICS.get(facts["metric"])
        if relation is None:
            known = ", ".join(METRICS)
            raise ValueError(f"claims {facts['metric']!r}, which is no known metric: {known}")
        if facts["relation"] != relation:
            raise ValueError(f"claims {text!r}, but {facts['metric']} wants {relation}")
        return cls(
            text=text,
            metric=facts["metric"],
            relation=relation,
            value=float(facts["value"]),
            rows=int(facts["rows"]),
            what=facts["what"],
            seconds=float(facts["seconds"]),
        )
