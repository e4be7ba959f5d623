#!/bin/sh
# Runs the example against OTTLA_BOOTSTRAP_SERVER with the python of PYTHON.
set -eu
here=$(dirname "$0")
"${PYTHON:-python3}" "$here/payments.py" &
service=$!
trap 'kill $service 2>/dev/null || true' EXIT
"${PYTHON:-python3}" "$here/orders.py" 10
