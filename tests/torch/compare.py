#!/usr/bin/env python3
"""Kith beside PyTorch's scaled_dot_product_attention: forward and gradients, flash and math paths.

    python3 -m venv VENV && VENV/bin/pip install numpy torch
    VENV/bin/python tests/torch/compare.py build/release/bin/kith

Not part of the tests, since PyTorch is large. Both are compared with the math path in double precision: in float32
Kith may be at most twice as far from it as the peer, plus a few units in the last place. Exit status 1 if one case
fails.
"""
import itertools
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}
SLACK = 2e-6
# name: batch, query heads, key heads, queries, keys, columns, value columns
SHAPES = {
    "square": (2, 3, 3, 33, 33, 16, 16),
    "wide": (1, 2, 2, 65, 130, 64, 64),
    "odd": (2, 1, 1, 7, 191, 5, 5),
    "grouped": (1, 8, 2, 50, 50, 32, 32),
    "values": (1, 2, 2, 20, 30, 8, 24),
    "long": (1, 1, 1, 3, 2000, 16, 16),
}
MASKS = ("none", "causal", "boolean", "boolean per head", "additive", "additive row")
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def mask_of(kind, shape, dtype, generator):
    """The attention mask of a kind, or None; each query keeps a key."""
    batch, heads, _, queries, keys, _, _ = shape
    extents = {
        "boolean": (1, 1, queries, keys),
        "boolean per head": (batch, heads, queries, keys),
        "additive": (batch, heads, queries, keys),
        "additive row": (1, 1, 1, keys),
    }.get(kind)
    if extents is None:
        return None
    if kind.startswith("boolean"):
        allowed = torch.rand(extents, generator=generator) < 0.6
        allowed[..., 0] = True
        return allowed
    return torch.randn(extents, generator=generator, dtype=torch.float64).to(dtype)


def torch_answer(arrays, d_out, mask, causal, grouped, backend, dtype):
    """out and the gradients of query, key and value, as double arrays; None if the path refuses the case."""
    query, key, value = (x.to(dtype).clone().requires_grad_() for x in arrays)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(dtype)
    try:
        with sdpa_kernel(backend):
            out = scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped
            )
    except RuntimeError:
        return None
    out.backward(d_out.to(dtype))
    return [x.detach().double().numpy() for x in (out, query.grad, key.grad, value.grad)]


def kith_answer(kith, folder, arrays, d_out, mask, causal, dtype):
    for name, x in zip(("q", "k", "v", "d"), (*arrays, d_out)):
        numpy.save(folder / f"{name}.npy", x.to(dtype).numpy())
    command = [kith, "attend", "--quiet"]
    for name in ("q", "k", "v"):
        command += [f"-{name}", folder / f"{name}.npy"]
    command += ["-o", folder / "out.npy", "--gradient", folder / "d.npy"]
    if causal:
        command.append("--causal")
    if mask is not None:
        numpy.save(folder / "mask.npy", (mask if mask.dtype == torch.bool else mask.to(dtype)).numpy())
        command += ["--mask", folder / "mask.npy"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    names = ("out", "out.d_query", "out.d_key", "out.d_value")
    return [numpy.load(folder / f"{name}.npy").astype(numpy.float64) for name in names]


def error(got, truth):
    return max(float(numpy.abs(g - t).max()) / max(1.0, float(numpy.abs(t).max())) for g, t in zip(got, truth))


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} KITH")
    kith = str(pathlib.Path(sys.argv[1]).resolve())
    passed, refused, failures = 0, 0, []
    print(f"PyTorch {torch.__version__}, largest error against the math path in double, relative")
    for seed, ((name, shape), kind, dtype) in enumerate(itertools.product(SHAPES.items(), MASKS, DTYPES)):
        batch, heads, key_heads, queries, keys, columns, value_columns = shape
        causal = kind == "causal"
        generator = torch.Generator().manual_seed(seed)
        normal = lambda *extents: torch.randn(extents, generator=generator, dtype=torch.float64).to(DTYPES[dtype])
        arrays = (
            normal(batch, heads, queries, columns),
            normal(batch, key_heads, keys, columns),
            normal(batch, key_heads, keys, value_columns),
        )
        d_out = normal(batch, heads, queries, value_columns)
        mask = mask_of(kind, shape, DTYPES[dtype], generator)
        grouped = heads != key_heads
        call = (arrays, d_out, mask, causal)
        truth = torch_answer(*call, grouped, SDPBackend.MATH, torch.float64)
        with tempfile.TemporaryDirectory() as folder:
            own = error(kith_answer(kith, pathlib.Path(folder), *call, DTYPES[dtype]), truth)
        for path, backend in BACKENDS.items():
            answer = torch_answer(*call, grouped, backend, DTYPES[dtype])
            if answer is None:
                refused += 1
                continue
            peer = error(answer, truth)
            slack = SLACK if dtype == "float32" else 1e-13
            if own <= 2 * peer + slack:
                passed += 1
            else:
                failures.append(f"{name}, {kind}, {dtype}, {path}: Kith {own:.1e}, PyTorch {peer:.1e}")
    print(f"{passed} passed, {len(failures)} failed, {refused} refused by PyTorch's path")
    print("\n".join(failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
