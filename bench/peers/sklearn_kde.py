"""scikit-learn's KernelDensity over a k-d tree: the denominators alone. One thread; the tree is built in prepare."""

import math

import numpy
import sklearn
from sklearn.neighbors import KernelDensity

from unsupported import Unsupported, forward_only

VERSION = f"scikit-learn {sklearn.__version__} KDE"


def prepare(problem, arrays):
    forward_only(problem)
    if problem["variant"] != "gaussian":
        raise Unsupported(problem["variant"])
    x, y = (arrays[name][0, 0].astype(numpy.float64) for name in ("query", "key"))
    h, depth = problem["bandwidth"], problem["depth"]
    # The same accuracy as Kith promises.
    density = KernelDensity(bandwidth=h, algorithm="kd_tree", rtol=1e-6).fit(y)
    constant = math.log(len(y)) + depth * (math.log(h) + 0.5 * math.log(2 * math.pi))
    return lambda: density.score_samples(x), lambda logs: {"lse": (logs + constant)[None, None]}
