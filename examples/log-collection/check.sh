#!/bin/sh
# Runs the example against OTTLA_BOOTSTRAP_SERVER with the ottla and python of OTTLA and PYTHON.
set -eu
here=$(dirname "$0")
ottla=${OTTLA:-ottla}
file=${1:-/var/log/dpkg.log}
if ! [ -s "$file" ]; then
    file=$(mktemp)
    i=0
    while [ $i -lt 2000 ]; do echo "2026-01-01 00:00:00 status installed package-$i"; i=$((i + 1)); done > "$file"
fi
"$ottla" topic create logs --partitions 4
"$ottla" produce logs --file "$file" --progress
"${PYTHON:-python3}" "$here/readers.py" logs "$(grep -c '' "$file")"
