"""What runs of one model take, learnt from those that were: how long the next will be, and how many
rows are worth running together.

Running what waits together saves what a run costs whatever its size, which is most of a small
model's time. A large model gains nothing by it, and on a CPU may lose: eight images' activations no
longer fit the cache that one image's did, so that eight rows in one run take longer than eight runs.
The runs themselves show which of the two a model is.

A transport's loop, which everybody waits for, may run what is known to be short, and known is only what
was measured: inputs of these very shapes, and rows up to twice as many as have been run together. Of
one number of elements the shapes decide how often a recurrent layer steps.

What a run usually takes, for those who have a deadline, goes by its size alone: rows, where all rows are
alike, else the elements of the inputs. A size that was not seen is taken to cost a row as much as the
next smaller one did.
"""

from collections.abc import Hashable
from dataclasses import dataclass

#: What a run costs the server besides the graph's time: its place in the queue, gathering, counting.
_RUN_NS = 15_000

#: Runs of a size before it is judged, of which the best counts: a first one also allocates.
_TRIES = 4

#: A smaller size must be better by so much, or what waits is run together.
_MARGIN = 1.04

#: Sizes are compared by runs that are among the latest so many: an older one met another machine, which
#: may have been idler.
_RECENT = 64

#: Runs after which all sizes are tried again: what was measured may have been a neighbour's doing.
_PATIENCE = 256

#: Between two looks at the largest size in use; a look takes microseconds.
_LOOK = 16

#: Rows without a bound.
ALL_ROWS = 2**63

#: The time of a run of which nothing is known: it belongs on a worker.
_UNKNOWN_NS = 86_400 * 10**9

#: Binary orders of a size.
_ORDERS = 64

#: Shapes whose runs are remembered; a caller may send any number of them.
_MOST_KEYS = 256


@dataclass(slots=True)
class _Seen:
    """The runs of one binary order of sizes; times are of a row or element."""

    #: What runs take when nothing holds them up.
    usual_ns: float
    runs: int = 1
    #: Which of the model's runs the last one was.
    last: int = 0

    def add(self, ns: float) -> None:
        self.runs += 1
        usual = self.usual_ns
        if self.runs <= _TRIES:
            if ns < usual:
                self.usual_ns = ns
            return
        # One run may be held up by anything; what lasts shows in those that follow it.
        self.usual_ns = usual + (min(ns, 2 * usual) - usual) / 8


class LatencyModel:
    """Of one model's runs. Any thread may use it: what two of them lose to each other is one sample."""

    def __init__(self, *, comparable: bool = True) -> None:
        """`comparable`: that sizes are rows, all alike, so that a run's time tells what a row costs."""
        self._comparable = comparable
        self._orders: list[_Seen | None] = [None] * _ORDERS
        #: What a row or element is expected to take, by the runs' shapes, and then by their binary order:
        #: one long run counts, for the next may hold up a loop.
        self._measured: dict[Hashable, dict[int, float]] = {}
        #: The most rows that are worth running together, as far as is known.
        self.most_rows = ALL_ROWS
        #: The largest order in use that is known well.
        self._top = 1
        self._since = 0
        self._runs = 0

    def begin(self, size: int, ns: int, key: Hashable = None) -> None:
        """Take note of how long a run took when the model was tried, before anybody asked."""
        if size:
            self._orders[size.bit_length()] = _Seen(ns / size, _TRIES)
            self._measure(size.bit_length(), ns / size, key)

    def learn(self, size: int, ns: int, key: Hashable = None) -> None:
        """Take note of a run; one whose size says nothing has the size 0.

        `key` is equal for inputs of equal shapes but for their rows.
        """
        if not size:
            return
        order, each = size.bit_length(), ns / size
        measured = self._measured.get(key)
        if measured is not None and order in measured:
            measured[order] += (each - measured[order]) / 8
        else:
            self._measure(order, each, key)
        self._runs += 1
        seen = self._orders[order]
        if seen is None:
            self._orders[order] = _Seen(each, last=self._runs)
            return
        seen.add(each)
        seen.last = self._runs
        if self.most_rows != ALL_ROWS:
            self._since += 1
            if self._since >= _PATIENCE:
                self._try_all()
        if seen.runs % _LOOK == _TRIES and order >= self._top and self._comparable:
            self._top = order
            self._judge(order)

    def usual_ns(self, size: int) -> int:
        """Return the time of a run that nothing holds up; 0 if nothing is known."""
        order = size.bit_length()
        seen = self._orders[order]
        while seen is None and order > 1:
            order -= 1
            seen = self._orders[order]
        return 0 if seen is None else int(seen.usual_ns * size)

    def measured_ns(self, size: int, key: Hashable) -> int:
        """Return what a run of these shapes takes, as those that were measured; a day if none was."""
        orders = self._measured.get(key)
        if orders is None or not size:
            return _UNKNOWN_NS
        order = size.bit_length()
        each = orders.get(order)
        if each is None:
            if order > max(orders):
                return _UNKNOWN_NS
            # One of fewer rows takes no longer than the next larger one did.
            larger = min(known for known in orders if known > order)
            return int(orders[larger] * (1 << larger))
        return int(each * size)

    def _measure(self, order: int, each_ns: float, key: Hashable) -> None:
        """Take a run for what runs of its shapes and order take."""
        if key not in self._measured and len(self._measured) >= _MOST_KEYS:
            self._measured = {}
        # By copy: other threads look through the orders meanwhile.
        self._measured[key] = {**self._measured.get(key, {}), order: each_ns}

    def _judge(self, top: int) -> None:
        """Use the largest size no more if a smaller one is better."""
        costs = {
            order: seen.usual_ns + _RUN_NS / (1 << (order - 1))
            for order, seen in enumerate(self._orders[: top + 1])
            if seen is not None
            and seen.runs >= _TRIES
            and (order == top or self._runs - seen.last < _RECENT)
        }
        if top not in costs:  # its runs were just forgotten, here or by another thread (_try_all)
            return
        if min(costs.values()) * _MARGIN < costs[top]:
            self.most_rows = (1 << (top - 1)) - 1
            self._top = 1
            self._since = 0

    def _try_all(self) -> None:
        """Let every size be tried again."""
        for larger in range(self.most_rows.bit_length() + 1, _ORDERS):
            self._orders[larger] = None
        self.most_rows = ALL_ROWS
        self._since = 0
