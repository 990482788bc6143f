"""driver.py ADAPTER: one peer, asked over stdin and stdout (bench/operator/process_peer.h says what).

An adapter is a module ADAPTER.py with

    VERSION                    text
    prepare(problem, arrays)   -> run, results

where `problem` is the object that problem.cc writes, `arrays` holds NumPy arrays query, key, value and, for backward,
d_out, each [1, heads, rows, columns]; run() does the work to be timed and returns anything, and results(returned) makes
of it a dict of NumPy arrays: out, d_query, d_key, d_value [1, heads, queries or keys, columns], lse [1, heads, queries],
nearest [1, 1, queries, 1]. Results are compared with Kith's. prepare raises Unsupported where the library lacks the
operation.
"""

import ctypes
import gc
import importlib
import json
import math
import os
import pathlib
import sys
import time

import numpy

from unsupported import Unsupported


def seconds(run, at_least):
    """As seconds() in bench/operator/measure.cc."""

    def clock(runs):
        start = time.perf_counter()
        for _ in range(runs):
            run()
        return time.perf_counter() - start

    first = clock(1)
    if first >= at_least:
        return first
    runs = math.ceil(at_least / max(first, 1e-7))
    return clock(runs) / runs


def peak_growth(run):
    """As peak_growth() in bench/operator/memory.cc, beside what run() returns."""

    def status(field):
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
        return 0

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return run(), 0
    before = status("VmRSS")
    returned = run()
    return returned, max(0, status("VmHWM") - before)


def prepare(adapter, question):
    folder = pathlib.Path(question["folder"])
    arrays = {name: numpy.load(folder / f"{name}.npy") for name in ("query", "key", "value")}
    arrays["query"] = arrays["query"][:, :, : question["problem"]["queries"]]
    if question["problem"]["task"] == "backward":
        arrays["d_out"] = numpy.load(folder / "d_out.npy")
    run, results = adapter.prepare(question["problem"], arrays)
    returned, size = peak_growth(run)
    for name, array in results(returned).items():
        numpy.save(folder / f"{name}.npy", numpy.ascontiguousarray(array))
    return run, size


def main():
    # What libraries print must not land among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name = sys.argv[1]
    adapter, run = None, None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question["do"] == "prepare":
                run = None
                if adapter is None:
                    adapter = importlib.import_module(name)
                run, size = prepare(adapter, question)
                answer = {"version": adapter.VERSION, "bytes": size}
            else:
                answer = {"seconds": seconds(run, question["at_least"])}
        except ImportError as error:
            answer = {"missing": str(error)}
        except Unsupported as error:
            answer = {"unsupported": str(error)}
        except Exception as error:  # whatever it is, it belongs into the table
            lines = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {lines[0][:200]}"}
        answers.write(json.dumps(answer) + "\n")


main()
