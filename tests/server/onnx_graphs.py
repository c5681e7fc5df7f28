"""Tiny ONNX graphs, for the repositories that the tests serve."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graphs:
    """Builders of tiny models: opset 17, IR 8."""

    def model(self, nodes: list, inputs: list, outputs: list, initializers: tuple = ()) -> bytes:
        graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=list(initializers))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def value(self, name: str, kind: int, shape: list) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    def identity(
        self, kind: int = TensorProto.FLOAT, shape: tuple = ("batch", 4), output: str = "y"
    ) -> bytes:
        """x -> y, unchanged."""
        return self.model(
            [helper.make_node("Identity", ["x"], [output])],
            [self.value("x", kind, list(shape))],
            [self.value(output, kind, list(shape))],
        )

    def ends_the_load(self) -> bytes:
        """A GRU over no steps, which onnxruntime folds while it loads and aborts; opset 11 has no guards."""
        constants = {"none": (0, 1, 4), "W": (1, 15, 4), "R": (1, 15, 5)}
        nodes = [
            helper.make_node("GRU", ["none", "W", "R"], ["", "h"], hidden_size=5),
            helper.make_node("Add", ["x", "h"], ["y"]),
        ]
        shape = [None, 1, 5]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [self.value("x", TensorProto.FLOAT, shape)],
            [self.value("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in constants.items()],
        )
        imports = [helper.make_opsetid("", 11)]
        return helper.make_model(graph, opset_imports=imports, ir_version=6).SerializeToString()

    def simple(self, first: object = "batch") -> bytes:
        """INPUT0, INPUT1 -> their sum and difference: Triton's example model."""
        shape = [first, 16]
        kind = TensorProto.INT32
        return self.model(
            [
                helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
                helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
            ],
            [self.value("INPUT0", kind, shape), self.value("INPUT1", kind, shape)],
            [self.value("OUTPUT0", kind, shape), self.value("OUTPUT1", kind, shape)],
        )

    def with_default(self) -> bytes:
        """y = x + bias, where the graph holds a default for the input bias."""
        bias = numpy_helper.from_array(np.full((1, 4), 10, np.float32), "bias")
        return self.model(
            [helper.make_node("Add", ["x", "bias"], ["y"])],
            [
                self.value("x", TensorProto.FLOAT, ["batch", 4]),
                self.value("bias", TensorProto.FLOAT, ["rows", 4]),
            ],
            [self.value("y", TensorProto.FLOAT, ["batch", 4])],
            (bias,),
        )

    def sums(self) -> bytes:
        """y = x + before, after = y: with its state kept, a running sum."""
        rows = ["batch", 1]
        return self.model(
            [
                helper.make_node("Add", ["x", "before"], ["after"]),
                helper.make_node("Identity", ["after"], ["y"]),
            ],
            [self.value(name, TensorProto.FLOAT, rows) for name in ("x", "before")],
            [self.value(name, TensorProto.FLOAT, rows) for name in ("y", "after")],
        )

    def wide_sums(self) -> bytes:
        """The same of rows of any length: `before` grows by the sum of x."""
        one = [
            self.value(name, TensorProto.FLOAT, ["batch", 1]) for name in ("before", "y", "after")
        ]
        return self.model(
            [
                helper.make_node("ReduceSum", ["x", "axes"], ["sum"]),
                helper.make_node("Add", ["sum", "before"], ["after"]),
                helper.make_node("Identity", ["after"], ["y"]),
            ],
            [self.value("x", TensorProto.FLOAT, ["batch", "n"]), one[0]],
            one[1:],
            (numpy_helper.from_array(np.array([1], np.int64), "axes"),),
        )

    def fails_when_run(self) -> bytes:
        """Gather from 3 elements by the index given: a bad index fails inside the run."""
        table = numpy_helper.from_array(np.arange(3, dtype=np.float32), "table")
        return self.model(
            [helper.make_node("Gather", ["table", "x"], ["y"])],
            [self.value("x", TensorProto.INT64, ["batch", 1])],
            [self.value("y", TensorProto.FLOAT, ["batch", 1])],
            (table,),
        )

    def which_are_set(self) -> bytes:
        """x -> where it is not 0: the data decides the shape of the answer."""
        return self.model(
            [helper.make_node("NonZero", ["x"], ["y"])],
            [self.value("x", TensorProto.BOOL, ["n"])],
            [self.value("y", TensorProto.INT64, [1, "found"])],
        )

    def endless(self) -> bytes:
        """x -> a loop that never ends, whatever x is."""
        always = numpy_helper.from_array(np.array(True), "always")
        return self._looping("always", always)

    def endless_unless_zeros(self) -> bytes:
        """x -> a loop that never ends, but for zeros, such as the trial of a load sends."""
        zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
        return self._looping(
            "any",
            zero,
            helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
            helper.make_node("Greater", ["largest", "zero"], ["any"]),
        )

    def _looping(self, condition: str, constant: onnx.TensorProto, *first: onnx.NodeProto) -> bytes:
        """x -> x, from a loop that ends only if the condition, which `first` computes, is false."""
        body = helper.make_graph(
            [helper.make_node("Identity", ["again"], ["again_out"]),
             helper.make_node("Identity", ["total"], ["total_out"])],
            "body",
            [self.value("i", TensorProto.INT64, []), self.value("again", TensorProto.BOOL, []),
             self.value("total", TensorProto.FLOAT, ["batch", 4])],
            [self.value("again_out", TensorProto.BOOL, []),
             self.value("total_out", TensorProto.FLOAT, ["batch", 4])],
        )  # fmt: skip
        return self.model(
            [*first, helper.make_node("Loop", ["", condition, "x"], ["y"], body=body)],
            [self.value("x", TensorProto.FLOAT, ["batch", 4])],
            [self.value("y", TensorProto.FLOAT, ["batch", 4])],
            (constant,),
        )

    def slow(self) -> bytes:
        """Count to n in a loop: as slow as asked for."""
        zero = numpy_helper.from_array(np.zeros(1, np.int64), "zero")
        return self.model(
            [
                helper.make_node("Squeeze", ["n"], ["trips"]),
                helper.make_node("Loop", ["trips", "", "zero"], ["y"], body=self._count()),
            ],
            [self.value("n", TensorProto.INT64, [1])],
            [self.value("y", TensorProto.INT64, [1])],
            (zero,),
        )

    def slow_rows(self) -> bytes:
        """Count to the largest n of a batch: its rows, together, take as long as that one."""
        rows = ["batch", 1]
        zero = numpy_helper.from_array(np.zeros(1, np.int64), "zero")
        return self.model(
            [
                helper.make_node("ReduceMax", ["n"], ["trips"], keepdims=0),
                helper.make_node("Loop", ["trips", "", "zero"], ["end"], body=self._count()),
                helper.make_node("Mul", ["n", "zero"], ["zeros"]),
                helper.make_node("Add", ["zeros", "end"], ["y"]),
            ],
            [self.value("n", TensorProto.INT64, rows)],
            [self.value("y", TensorProto.INT64, rows)],
            (zero,),
        )

    def _count(self) -> Any:
        """Return the body of a loop that counts its turns."""
        one = numpy_helper.from_array(np.ones(1, np.int64), "one")
        return helper.make_graph(
            [
                helper.make_node("Identity", ["cond"], ["cond_out"]),
                helper.make_node("Add", ["total", "one"], ["total_out"]),
            ],
            "body",
            [
                self.value("i", TensorProto.INT64, []),
                self.value("cond", TensorProto.BOOL, []),
                self.value("total", TensorProto.INT64, [1]),
            ],
            [
                self.value("cond_out", TensorProto.BOOL, []),
                self.value("total_out", TensorProto.INT64, [1]),
            ],
            initializer=[one],
        )
