"""A model as an ONNX graph, encoding included: raw columns in, predictions out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from descend.errors import MissingExtraError
from descend.models.formula import CategoryTerm, Formula

try:
    from onnx import TensorProto, checker, helper, numpy_helper
except ImportError as error:  # pragma: no cover
    raise MissingExtraError("ONNX needs its package: pip install 'descend[onnx]'.") from error

OPSETS = (("", 17), ("ai.onnx.ml", 3))
IR_VERSION = 10


def onnx_model(formula: Formula) -> bytes:
    """The graph, serialised.

    A model of a table has one input of shape (rows, 1) per column: doubles, missing ones NaN and dates in
    days since 1970, or strings, missing ones empty. A model of arrays has the input `x`, (rows, features).
    Outputs: `prediction` (rows,), numbers or labels, and `probabilities` (rows, classes) where classes have them; where a column has the
    name of one of them, the output's ends in `_`.
    """
    graph = _Graph([*(n.name for n in formula.numbers), *(c.name for c in formula.categories)])
    terms = [graph.constant("intercept", np.array([formula.intercept]))]
    terms += _numbers(graph, formula)
    terms += [_category(graph, formula, term, i) for i, term in enumerate(formula.categories)]
    z = terms[0]
    for term in terms[1:]:
        z = graph.node("Add", [z, term])
    outputs = _outputs(graph, formula, z)
    made = helper.make_graph(graph.nodes, formula.target or "model", graph.inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS]
    model = helper.make_model(made, opset_imports=opsets, producer_name="descend", ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants as they come, under names that no column has."""

    def __init__(self, columns: Iterable[str]) -> None:
        self.taken = set(columns)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []

    def free(self, name: str) -> str:
        """The name, or one like it where it is taken: a graph has all its names in one space."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def constant(self, name: str, values: Any) -> str:
        name, values = self.free(name), np.asarray(values)
        if values.dtype.kind in "US":
            texts: list[Any] = [str(v).encode() for v in values]
            tensor = helper.make_tensor(name, TensorProto.STRING, values.shape, texts)
        else:
            tensor = numpy_helper.from_array(values, name)
        self.constants.append(tensor)
        return name

    def input(self, name: str, kind: int, columns: int = 1) -> str:
        name = name or self.free("unnamed")  # ONNX knows no empty names
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["rows", columns]))
        return name

    def node(self, op: str, inputs: list[str], output: str = "", domain: str = "", **settings: Any) -> str:
        output = self.free(output or f"{op.lower()}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(op, inputs, [output], domain=domain, **settings))
        return output


def _numbers(graph: _Graph, formula: Formula) -> list[str]:
    """`where(isnan(x), mean, x) @ slopes + isnan(x) @ flags`."""
    numbers = formula.numbers
    if not numbers:
        return []
    slopes = graph.constant("slopes", np.array([n.slope for n in numbers]))
    if not formula.from_table:
        return [graph.node("MatMul", [graph.input("x", TensorProto.DOUBLE, len(numbers)), slopes])]
    columns = [graph.input(n.name, TensorProto.DOUBLE) for n in numbers]
    x = graph.node("Concat", columns, axis=1)
    absent = graph.node("IsNaN", [x])
    means = graph.constant("means", np.array([[n.mean for n in numbers]], dtype=np.float64))
    filled = graph.node("MatMul", [graph.node("Where", [absent, means, x]), slopes])
    flags = graph.constant("flags", np.array([n.flag for n in numbers]))
    flagged = graph.node("Cast", [absent], to=TensorProto.DOUBLE)
    return [filled, graph.node("MatMul", [flagged, flags])]


def _category(graph: _Graph, formula: Formula, term: CategoryTerm, number: int) -> str:
    """The row of a table that the level names; the last two rows are the missing and the unknown level."""
    levels = list(term.levels)
    codes = {level: i for i, level in enumerate(levels)}
    if term.lower:  # a frame may write them True, TRUE or true
        codes |= {spelt(level): i for level, i in codes.items() for spelt in (str.title, str.upper)}
    codes |= dict.fromkeys(["", *formula.missing_texts(term)], len(levels)) if "" not in codes else {}
    table = graph.constant(f"levels_{number}", np.array([*term.levels.values(), term.missing, term.unknown]))
    code = graph.node(
        "LabelEncoder",
        [graph.input(term.name, TensorProto.STRING)],
        domain="ai.onnx.ml",
        keys_strings=list(codes),
        values_int64s=list(codes.values()),
        default_int64=len(levels) + 1,
    )
    axis = graph.constant(f"axis_{number}", np.array([1], dtype=np.int64))
    return graph.node("Gather", [table, graph.node("Squeeze", [code, axis])], axis=0)


def _outputs(graph: _Graph, formula: Formula, z: str) -> list[Any]:
    """The prediction and, where classes have them, the probabilities."""
    axis = graph.constant("last", np.array([1], dtype=np.int64))
    if formula.classes is None:
        name = graph.node("Squeeze", [_mean(graph, formula, z), axis], "prediction")
        return [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["rows"])]
    shares = _shares(graph, formula, z) if formula.probabilities else None
    if formula.outputs == 1:
        positive = graph.node("Greater", [z, graph.constant("zero", np.array(0.0))])
        code = graph.node("Squeeze", [graph.node("Cast", [positive], to=TensorProto.INT64), axis])
    else:
        code = graph.node("ArgMax", [z], axis=1, keepdims=0)
    labels = np.array(formula.classes)
    labels = labels.astype(np.int64) if labels.dtype.kind in "iu" else labels
    kinds = {"b": TensorProto.BOOL, "i": TensorProto.INT64, "f": TensorProto.DOUBLE, "U": TensorProto.STRING}
    name = graph.node("Gather", [graph.constant("classes", labels), code], "prediction", axis=0)
    given = [helper.make_tensor_value_info(name, kinds[labels.dtype.kind], ["rows"])]
    if shares is not None:
        given.append(helper.make_tensor_value_info(shares, TensorProto.DOUBLE, ["rows", len(labels)]))
    return given


def _shares(graph: _Graph, formula: Formula, z: str) -> str:
    """The probability of each class."""
    if formula.outputs > 1:
        return graph.node("Softmax", [z], "probabilities", axis=1)
    one = graph.constant("one", np.array(1.0))
    second = _mean(graph, formula, z)
    return graph.node("Concat", [graph.node("Sub", [one, second]), second], "probabilities", axis=1)


def _mean(graph: _Graph, formula: Formula, z: str) -> str:
    """The inverse of the link."""
    for op in formula.spelling.onnx:
        z = graph.node(op, [z])
    return z
