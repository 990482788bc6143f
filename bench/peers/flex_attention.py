"""PyTorch's FlexAttention, compiled; forward only on a CPU. Compiling happens in prepare."""

import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from torch_sdpa import numpy_of, tensor
from unsupported import Unsupported, forward_only

VERSION = f"FlexAttention {torch.__version__.split('+')[0]}"

compiled = torch.compile(flex_attention)


def causal(b, h, i, j):
    return i >= j


def prepare(problem, arrays):
    forward_only(problem)
    torch.set_num_threads(problem["threads"])
    q, k, v = (tensor(arrays[name], problem) for name in ("query", "key", "value"))
    window = problem["window"]

    def visible(b, h, i, j):
        return (i >= j) & (i - j <= window)

    def soft_cap(score, b, h, i, j):
        return 30 * torch.tanh(score / 30)

    variant = problem["variant"]
    if variant not in ("dot", "window", "soft_cap"):
        raise Unsupported(variant)
    mask = visible if variant == "window" else causal if problem["causal"] else None
    rows, keys = q.shape[2], k.shape[2]
    block_mask = mask and create_block_mask(mask, None, None, rows, keys, device="cpu")
    score_mod = soft_cap if variant == "soft_cap" else None

    def run():
        with torch.no_grad():
            return compiled(q, k, v, score_mod=score_mod, block_mask=block_mask)

    run()
    return run, lambda out: {"out": numpy_of(out)}
