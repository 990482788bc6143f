"""An ONNX Runtime session of a graph with one node."""

import onnxruntime
from onnx import TensorProto, helper


def session(node, inputs, output_rank, threads, opset, domain=""):
    """`inputs`: NumPy arrays by name. Returns run() -> the output."""
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "attention",
        [helper.make_tensor_value_info(name, kind, list(array.shape)) for name, array in inputs.items()],
        [helper.make_tensor_value_info("out", kind, [None] * output_rank)],
    )
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    open_session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: open_session.run(None, inputs)[0]
