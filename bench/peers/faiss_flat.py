"""FAISS's exact search for the nearest key: as many pairs compared as in the sum, and no exponentials."""

import faiss
import numpy

from unsupported import Unsupported, forward_only

VERSION = f"FAISS {faiss.__version__} flat search"


def prepare(problem, arrays):
    forward_only(problem)
    if problem["variant"] != "gaussian" or problem["dtype"] != "float32":
        raise Unsupported(problem["variant"])
    faiss.omp_set_num_threads(problem["threads"])
    x, y = (numpy.ascontiguousarray(arrays[name][0, 0]) for name in ("query", "key"))
    index = faiss.IndexFlatL2(problem["depth"])
    index.add(y)

    def run():
        return index.search(x, 1)

    return run, lambda found: {"nearest": found[0][None, None]}
