#!/usr/bin/env bash
# The Python environment that everything else runs in: .venv, locked dependencies with hashes, this package in place.
# Idempotent: does nothing when the lock and pyproject.toml are those of the last successful set-up.
set -euo pipefail
cd "$(dirname "$0")/../.."

stamp=.venv/.moonquake-setup
want=$(cat harness/locks/lab.txt pyproject.toml | sha256sum | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && .venv/bin/python -c 'import harness' 2>/dev/null; then
    exit 0
fi

python=""
for candidate in "${PYTHON:-}" python3.12 python3.11 python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "moonquake: needs Python 3.11 or 3.12 and found neither; install one and name it: PYTHON=/path/to/python make lab" >&2
    exit 4
fi

echo "==> setting up .venv with $("$python" --version) and the locked dependencies (about a minute, once)"
if ! "$python" -m venv .venv >/dev/null 2>&1; then
    # Debian splits venv from python3; install it where we may.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "==> apt-get install python3-venv"
        apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv python3-pip >/dev/null
        "$python" -m venv .venv
    else
        echo "moonquake: $python cannot make a virtual environment; install the venv module (Debian: apt-get install python3-venv)" >&2
        exit 4
    fi
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r harness/locks/lab.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
echo "$want" > "$stamp"
