"""What a refusal says to do works: every way that it names ends in a file, proven equal."""

from collections.abc import Callable

import pytest

from tests.zoo.export.hint_cases import HINTS
from tests.zoo.keras_process import Outcomes

#: Some thirty exports.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exports(cases: Callable[..., Outcomes], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Every case of hint_cases.py, in one process."""
    return cases("tests.zoo.export.hint_cases", tmp_path_factory.mktemp("hints"), timeout=600)


@pytest.mark.parametrize("name", HINTS)
def test_what_a_refusal_says_can_be_done(exports: Outcomes, name: str) -> None:
    """First refused, in words that say what to do; then exported, each way."""
    said = exports[name]

    assert HINTS[name].words in said.pop("refused")
    assert said == dict.fromkeys(HINTS[name].ways, "")
