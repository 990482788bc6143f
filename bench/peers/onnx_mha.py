"""ONNX Runtime's own operator MultiHeadAttention. Its layout is [batch, rows, heads x columns]."""

import numpy
import onnxruntime
from onnx import helper

from onnx_session import session
from unsupported import Unsupported, dot_only, forward_only

VERSION = f"ONNX Runtime {onnxruntime.__version__} MHA"


def prepare(problem, arrays):
    dot_only(problem)
    forward_only(problem)
    if problem["dtype"] != "float32":
        raise Unsupported(problem["dtype"])
    heads = problem["heads"]
    inputs = {name: flat(arrays[name]) for name in ("query", "key", "value")}
    node = helper.make_node(
        "MultiHeadAttention",
        list(inputs),
        ["out"],
        domain="com.microsoft",
        num_heads=heads,
        unidirectional=int(problem["causal"]),
    )
    run = session(node, inputs, 3, problem["threads"], 17, "com.microsoft")
    return run, lambda out: {"out": out.reshape(1, out.shape[1], heads, -1).transpose(0, 2, 1, 3)}


def flat(array):
    """[1, H, N, D] -> [1, N, H D]"""
    return numpy.ascontiguousarray(array.transpose(0, 2, 1, 3)).reshape(1, array.shape[2], -1)
