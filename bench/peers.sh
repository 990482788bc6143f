#!/bin/sh
# Puts the libraries that bench_operator compares Kith with into a virtual environment of their own:
#     bench/peers.sh
# The folder is $KITH_PEERS, else ~/.cache/kith-peers; nothing lands in the repository. Needs Debian's python3-venv and
# about 6 GB (PyTorch's usual wheel brings a GPU's libraries; where pip is configured for its CPU wheels, 1 GB). KeOps
# and FlexAttention compile with g++ when they first run. OpenBLAS and oneDNN are Debian packages, installed if this
# runs as root. What this machine cannot have is left out, and the bench then calls that peer missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peers=${KITH_PEERS:-$HOME/.cache/kith-peers}
[ -x "$peers/bin/python3" ] || python3 -m venv "$peers"
left_out=
for wheel in numpy torch onnxruntime onnx pykeops faiss-cpu scikit-learn; do
  "$peers/bin/python3" -m pip --disable-pip-version-check install --quiet "$wheel" || left_out="$left_out $wheel"
done
for package in libopenblas-dev libdnnl-dev; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed' ||
    { [ "$(id -u)" -eq 0 ] && apt-get update -qq &&
      apt-get install -y -qq --no-install-recommends "$package" >/dev/null; } ||
    left_out="$left_out $package"
done

# Adapters that the bench opens in its own process: compile NAME FLAGS, then link NAME LIBRARIES.
built=$peers/in_process
mkdir -p "$built"
compile() {
  name=$1
  shift
  rm -f "$built/$name.so"
  g++ -std=c++20 -O3 -march=native -fPIC -fopenmp -Wall -Wextra "$@" -c "$here/peers/$name.cc" -o "$built/$name.o"
}
link() {
  name=$1
  shift
  g++ -shared -fopenmp "$built/$name.o" -o "$built/$name.so" "$@"
}
torch=$("$peers/bin/python3" -c \
  'from importlib.util import find_spec as f; print(*f("torch").submodule_search_locations)' 2>/dev/null || true)
{
  compile libtorch_sdpa -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" &&
    link libtorch_sdpa -L"$torch/lib" -Wl,-rpath,"$torch/lib" -ltorch_cpu -lc10
} || left_out="$left_out libtorch_sdpa"
{ compile onednn -Wconversion -Wshadow && link onednn -ldnnl; } || left_out="$left_out onednn"
# -ffast-math, since under no other flag GCC calls glibc's vector exp; not where it is linked, which would have the
# whole process take small numbers for 0.
{ compile openblas -Wconversion -Wshadow -ffast-math && link openblas -lopenblas; } || left_out="$left_out openblas"

[ -z "$left_out" ] || echo "peers.sh: could not be had:$left_out" >&2
echo "$peers"
