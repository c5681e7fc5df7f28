"""Recipes: how a model is built and trained, and what it claims to reach, as frozen values.

A recipe is a function that builds a Keras model, marked by `@recipe(...)`. Its name is the model's
name, and its docstring is a claim that training checks:

    @recipe(tutorial="Dense(8, relu) → Dense(3, softmax)", dataset=IRIS, task="multiclass", ...)
    def dense_iris() -> keras.Model:
        \"\"\"Tell three kinds of iris apart by four measurements.

        Reaches: accuracy >= 0.9 on 30 held-out flowers, in about 3 s on two cores.
        \"\"\"
        import keras
        return keras.Sequential([keras.Input((4,), name="measurements"), ...])

The builder imports Keras itself, so that a recipe can be listed without it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from zoo.datasets.dataset import Dataset
from zoo.errors import RecipeError, did_you_mean, first_line
from zoo.recipes.claim import Claim
from zoo.recipes.search import Space
from zoo.recipes.settings import (
    BASELINES,
    LOSSES,
    RULES,
    TRAINING,
    is_task,
    one_of,
    wrong_names,
    wrong_values,
)
from zoo_server.images.description import Image

if TYPE_CHECKING:
    import keras

Builder = Callable[..., "keras.Model"]

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model: how it is built, on what and how it is trained, what it claims.

    Born valid: a wrong value raises RecipeError with the recipe, the field and what is wanted.
    """

    # What the decorator reads off the builder.
    name: str
    doc: str
    claim: Claim
    builder: Builder
    file: Path
    line: int
    # What the author says.
    tutorial: str  # the piece of the tutorial it makes real
    dataset: Dataset
    task: str  # a key of LOSSES
    input_name: str
    output_name: str
    parameters: int  # trainable ones
    baseline: str  # a key of BASELINES
    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int  # epochs without a better validation loss before training stops
    loss: str = ""  # a Keras loss; LOSSES[task] when empty
    # A functional model's further inputs, and further outputs with their tasks, in Keras's order;
    # claim, metric and baseline speak of the first output.
    more_inputs: tuple[str, ...] = ()
    more_outputs: Mapping[str, str] = field(default_factory=dict)
    # Of one step of a recurrent recipe (zoo/recipes/sequence_step.py): what it is a step of, whose
    # training is its own, and the states that go in and out.
    step_of: Recipe | None = None
    states: tuple[str, ...] = ()
    why_not_linear: str = ""  # why it stays although a linear model does better, for its card
    backup: bool = False  # save the state each epoch, and go on from it after a kill
    # What a search may try: values or a range for each setting (zoo/recipes/search.py).
    search: Space = field(default_factory=dict)
    # What a training changed of the author's values (zoo/recipes/trial_settings.py).
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.loss == "" and is_task(self.task):
            object.__setattr__(self, "loss", LOSSES[self.task])
        faults = self._faults()
        if faults:
            raise RecipeError(f"{self.where}: {'; '.join(faults)}")

    def _faults(self) -> list[str]:
        """Return all that is wrong: each value by itself, then those that contradict each other."""
        faults = wrong_values({key: getattr(self, key) for key in RULES})
        if faults:
            return faults
        for side, names in (("inputs", self.inputs), ("outputs", self.outputs)):
            if len(set(names)) != len(names):
                faults.append(f"{side}={names!r}: must have a name each")
        own = [*TRAINING[1:], *builder_arguments(self.builder)]  # a seed is no setting to choose
        faults += [
            f"search: no setting is called {name!r}: {did_you_mean(name, own) or 'it takes ' + ', '.join(own)}"
            for name in self.search
            if name not in own
        ]
        if self.task not in BASELINES[self.baseline]:
            suited = [name for name, tasks in BASELINES.items() if self.task in tasks]
            faults.append(
                f"baseline={self.baseline!r} makes no sense for task={self.task!r}: "
                f"must be {one_of(suited)}"
            )
        if (self.metric == "accuracy") != (self.task in ("multiclass", "binary")):
            faults.append(f"task={self.task!r} cannot claim {self.metric!r}")
        classes = len(self.classes)
        if (self.task == "multiclass" and classes < 2) or (self.task == "binary" and classes != 2):
            faults.append(
                f"task={self.task!r}, but dataset {self.dataset.name} has {classes} classes"
            )
        return faults

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of all inputs, in Keras's order."""
        return (self.input_name, *self.more_inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of all outputs, in Keras's order."""
        return (self.output_name, *self.more_outputs)

    @property
    def trained_as(self) -> Recipe:
        """Return the recipe whose training gives the weights: a step's is that of its source."""
        return self if self.step_of is None else self.step_of.trained_as

    @property
    def state_tensors(self) -> Mapping[str, str]:
        """Return which output gives each input that is a state, for the sequence's next request."""
        return {f"{state}_before": f"{state}_after" for state in self.states}

    @property
    def losses(self) -> tuple[str, ...]:
        """Return the Keras loss of each output; their sum is minimised."""
        return (self.loss, *(LOSSES[task] for task in self.more_outputs.values()))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the task of each output."""
        return (self.task, *self.more_outputs.values())

    @property
    def where(self) -> str:
        """Name the recipe and the place it is defined at, for messages."""
        return f"recipe {self.name} ({self.owner})"

    @property
    def owner(self) -> str:
        """Return `file:line` of the definition."""
        return f"{self.file}:{self.line}"

    @property
    def is_own(self) -> bool:
        """Tell whether it is one of this package's own recipes, which its tests have checked."""
        return self.file.is_relative_to(PACKAGE)

    @property
    def source(self) -> str:
        """Return `file:line` without the folders of this machine: for records and cards."""
        path = self.file.name
        if self.is_own:
            path = self.file.relative_to(PACKAGE.parent).as_posix()
        return f"{path}:{self.line}"

    @property
    def summary(self) -> str:
        """Return the docstring's first sentence."""
        return " ".join(self.doc.split("\n\n")[0].split())

    @property
    def metric(self) -> str:
        """Return the metric the claim speaks of, a key of claim.METRICS."""
        return self.claim.metric

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Return the settings that are the builder's arguments, not the recipe's fields."""
        own = {field.name for field in fields(self)}
        return {name: value for name, value in self.settings.items() if name not in own}

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class labels in the order of the data's label numbers; empty without classes."""
        return self.dataset.classes

    @property
    def units(self) -> str:
        """Return the unit of the output where the task is not a choice of classes."""
        return self.dataset.units

    @property
    def image(self) -> Image | None:
        """Return how the input encodes an image, None when it is not one."""
        return self.dataset.image

    def build(self) -> keras.Model:
        """Build the Keras model, untrained; raises RecipeError when the builder fails."""
        try:
            return self.builder(**self.arguments)
        except Exception as error:
            raise RecipeError(
                f"{self.where}: cannot be built: {type(error).__name__}: {first_line(error)}"
            ) from error


def builder_arguments(builder: Builder) -> dict[str, Any]:
    """Return the arguments that have a default, with it."""
    parameters = inspect.signature(builder).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def recipe(**settings: Any) -> Callable[[Builder], Recipe]:
    """Turn a builder function into a `Recipe`; the settings are the fields of that class.

    Raises RecipeError for a missing, unknown or wrong setting and for a docstring without a claim.
    """

    def mark(builder: Builder) -> Recipe:
        if not isinstance(builder, FunctionType):
            raise RecipeError(f"@recipe marks a function that builds a model, and not {builder!r}")
        code = builder.__code__
        place = f"recipe {builder.__name__} ({code.co_filename}:{code.co_firstlineno})"
        doc = re.sub(r"\n[ \t]+", "\n", (builder.__doc__ or "").strip())
        claim, faults = _claim(doc)
        faults += _wrong_names(settings)
        if claim is None or faults:
            faults += wrong_values({"name": builder.__name__, **settings})
            raise RecipeError(f"{place}: {'; '.join(faults)}")
        return Recipe(
            name=builder.__name__,
            doc=doc,
            claim=claim,
            builder=builder,
            file=Path(code.co_filename),
            line=code.co_firstlineno,
            **settings,
        )

    return mark


#: What the builder, or the recipe that one is derived from, says; the others the author gives.
READ_OFF = frozenset(
    {"name", "doc", "claim", "builder", "file", "line", "step_of", "states", "settings"}
)


def _claim(doc: str) -> tuple[Claim | None, list[str]]:
    """Return a docstring's claim, or what is wrong with it."""
    if not doc or doc.startswith("Reaches:"):
        return None, ["the docstring must open with a sentence about the model"]
    try:
        return Claim.parse(doc), []
    except ValueError as error:
        return None, [f"the docstring {error}"]


def _wrong_names(settings: Mapping[str, Any]) -> list[str]:
    """Return which settings there are none of, and which are missing."""
    known = {field.name: field for field in fields(Recipe) if field.name not in READ_OFF}
    required = [
        k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING
    ]
    return wrong_names(settings, known, required)
