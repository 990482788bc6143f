#!/bin/sh
# Puts the libraries that bench_operator compares Kith with into a virtual environment of their own:
#     bench/peers.sh
# The folder is $KITH_PEERS, else ~/.cache/kith-peers; nothing lands in the repository. Needs Debian's python3-venv and
# about 6 GB (PyTorch's usual wheel brings a GPU's libraries; where pip is configured for its CPU wheels, 1 GB). KeOps
# and FlexAttention compile with g++ when they first run. A wheel that this machine cannot have is left out, and the
# bench then calls that peer missing.
set -eu
peers=${KITH_PEERS:-$HOME/.cache/kith-peers}
[ -x "$peers/bin/python3" ] || python3 -m venv "$peers"
left_out=
for wheel in numpy torch onnxruntime onnx pykeops faiss-cpu scikit-learn; do
  "$peers/bin/python3" -m pip --disable-pip-version-check install --quiet "$wheel" || left_out="$left_out $wheel"
done
[ -z "$left_out" ] || echo "peers.sh: could not be installed:$left_out" >&2
echo "$peers"
