#!/bin/sh
# Usage: make_venv.sh FOLDER [PYTHON]
#
# Makes a virtual environment with PYTHON, else with the newest Python from 3.11 up on PATH that has
# the venv module. A good one that is there already stays. On failure: one line that says what to do.
set -eu
folder=$1
chosen=${2:-}

suits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

fail() {
    echo "make: $1" >&2
    exit 1
}

if suits "$folder/bin/python" && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

if [ -n "$chosen" ]; then
    suits "$chosen" || fail "PYTHON=$chosen is not a Python 3.11 or newer with its venv module."
    python=$chosen
else
    python=
    old=
    for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if suits "$candidate"; then
            python=$candidate
            break
        fi
        found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) &&
            old="$old $found"
    done
    case $old in
    *3.1[1-9]*) hint="its venv module is missing (Debian, Ubuntu: apt install python3-venv)" ;;
    ?*) hint="found only$old (Debian, Ubuntu: apt install python3.11 python3.11-venv)" ;;
    *) hint="found none (Debian, Ubuntu: apt install python3 python3-venv)" ;;
    esac
    [ -n "$python" ] ||
        fail "this needs Python 3.11 or newer; $hint. Another one: make PYTHON=/path/to/python3.12"
fi

"$python" -m venv --clear "$folder" ||
    fail "$python could not make $folder here: see above."
