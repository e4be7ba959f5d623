#!/bin/sh
# Runs the example against OTTLA_BOOTSTRAP_SERVER with the python of PYTHON.
set -eu
"${PYTHON:-python3}" "$(dirname "$0")/sensors.py" 20 100
