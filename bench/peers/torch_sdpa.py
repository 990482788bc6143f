"""PyTorch's scaled_dot_product_attention, forward and backward."""

import numpy
import torch
import torch.nn.functional as F

from unsupported import dot_only

VERSION = f"PyTorch {torch.__version__.split('+')[0]}"


def tensor(array, problem):
    return torch.from_numpy(array).to(getattr(torch, problem["dtype"]))


def prepare(problem, arrays):
    dot_only(problem)
    torch.set_num_threads(problem["threads"])
    q, k, v = (tensor(arrays[name], problem) for name in ("query", "key", "value"))
    causal = problem["causal"]

    if problem["task"] == "forward":

        def run():
            with torch.no_grad():
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

        return run, lambda out: {"out": numpy_of(out)}

    for t in (q, k, v):
        t.requires_grad_()
    out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    d_out = tensor(arrays["d_out"], problem)

    def run_backward():
        return torch.autograd.grad(out, (q, k, v), d_out, retain_graph=True)

    names = ("d_query", "d_key", "d_value")
    return run_backward, lambda grads: {n: numpy_of(g) for n, g in zip(names, grads)}


def numpy_of(t):
    return (t if t.dtype in (torch.float32, torch.float64) else t.float()).detach().numpy().astype(
        numpy.float64 if t.dtype == torch.float64 else numpy.float32
    )
