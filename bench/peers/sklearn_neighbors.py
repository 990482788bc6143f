"""scikit-learn's 32 nearest neighbors by k-d tree: what a cut-off regression costs. The tree is built in prepare."""

import numpy
import sklearn
from sklearn.neighbors import NearestNeighbors

from unsupported import Unsupported, forward_only

VERSION = f"scikit-learn {sklearn.__version__} 32 neighbors"


def prepare(problem, arrays):
    forward_only(problem)
    if problem["variant"] != "gaussian":
        raise Unsupported(problem["variant"])
    x, y = (arrays[name][0, 0].astype(numpy.float64) for name in ("query", "key"))
    search = NearestNeighbors(n_neighbors=32, algorithm="kd_tree", n_jobs=problem["threads"]).fit(y)
    return lambda: search.kneighbors(x), lambda found: {"nearest": found[0][None, None, :, :1] ** 2}
