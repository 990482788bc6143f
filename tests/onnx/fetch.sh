#!/bin/sh
# fetch.sh FOLDER: puts ONNX's node tests of attention and rotary embedding into FOLDER, one folder a case.
# They come with the Python package `onnx`, which pip downloads; needs Debian's python3 and python3-pip, or
# python3-venv. Does nothing where FOLDER is there already. FOLDER appears whole or not at all.
set -eu

wheel='onnx==1.22.0 --hash=sha256:1d0a2bdb15eb2b3cb65c438f3423d9620d14fdce32f92380e6bb1b2e09568ef5'

die() {
  echo "fetch.sh: $*" >&2
  exit 1
}

[ $# -eq 1 ] || {
  echo 'usage: fetch.sh FOLDER' >&2
  exit 2
}
folder=${1%/}
[ ! -d "$folder" ] || exit 0
command -v python3 >/dev/null || die "python3 is missing; needs the Debian packages python3 and python3-pip"

mkdir -p "$(dirname "$folder")"
new=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$new/cases"

python=python3
python3 -m pip --version >/dev/null 2>&1 || {
  python3 -m venv "$new/venv" >"$new/log" 2>&1 || die "python3 has neither pip nor venv; needs the Debian package python3-pip"
  python=$new/venv/bin/python3
}
echo "$wheel" >"$new/wheel.txt"
# One file, whatever this machine's processor and Python: only its data are used.
"$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
  --platform manylinux_2_28_x86_64 --implementation cp --python-version 3.11 --abi cp311 --require-hashes \
  --dest "$new" -r "$new/wheel.txt" >"$new/log" 2>&1 || {
  cat "$new/log" >&2
  die "pip could not download $wheel"
}

python3 - "$new"/onnx-*.whl "$new/cases" "$folder" <<'END' || die "$folder: cannot be made"
import pathlib, re, sys, zipfile

wheel, unpacked, folder = sys.argv[1:]
case = re.compile(r"onnx/backend/test/data/node/(test_(?:attention_|rotary_embedding|flexattention)[^/]*/.+)")
with zipfile.ZipFile(wheel) as files:
    for entry in files.infolist():
        match = case.fullmatch(entry.filename)
        if match and not entry.is_dir() and "_expanded" not in match[1]:
            path = pathlib.Path(unpacked, match[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.read(entry))
try:
    pathlib.Path(unpacked).rename(folder)
except OSError:
    # Another process may have been faster; its folder holds the same.
    if not pathlib.Path(folder).is_dir():
        raise
END
