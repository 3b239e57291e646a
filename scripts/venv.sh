#!/bin/sh
# Finds a Python that is new enough and hands over to venv.py, which makes the environment.
# $PYTHON, when set, is the one to take; else an environment that is there keeps its own.
new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

here=$(dirname "$0")
venv=$1
if [ -n "$PYTHON" ]; then
    if new_enough "$PYTHON"; then
        exec "$PYTHON" "$here/venv.py" "$@"
    fi
    echo "make: PYTHON=$PYTHON is no Python 3.11 or newer" >&2
    exit 1
fi
for python in "$venv/bin/python" python3 python3.19 python3.18 python3.17 python3.16 python3.15 \
    python3.14 python3.13 python3.12 python3.11 python; do
    if new_enough "$python"; then
        exec "$python" "$here/venv.py" "$@"
    fi
done
echo "make: no Python 3.11 or newer on PATH; name one: make PYTHON=/path/to/python3" >&2
exit 1
