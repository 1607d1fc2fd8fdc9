#!/bin/sh
# Runs on every node before Spark is installed. The programs need numpy, nothing else; a node that has it keeps its own.
set -eu
python3 -c 'import numpy' 2>/dev/null && exit 0
sudo python3 -m pip install --no-input --disable-pip-version-check 'numpy==1.26.4'
python3 -c 'import numpy'
