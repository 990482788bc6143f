"""ONNX's standard operator Attention (opset 23) in ONNX Runtime."""

import numpy
import onnxruntime
from onnx import helper

from onnx_session import session
from unsupported import Unsupported, dot_only, forward_only

VERSION = f"ONNX Runtime {onnxruntime.__version__} Attention-23"


def prepare(problem, arrays):
    dot_only(problem)
    forward_only(problem)
    if problem["dtype"] != "float32":
        raise Unsupported(problem["dtype"])
    inputs = {name: numpy.ascontiguousarray(arrays[name]) for name in ("query", "key", "value")}
    node = helper.make_node("Attention", list(inputs), ["out"], is_causal=int(problem["causal"]))
    return session(node, inputs, 4, problem["threads"], 23), lambda out: {"out": out}
