#!/bin/sh
# Installs the packages of a lock file into /opt/headserve, and takes from TensorFlow what is there for linkers and debuggers only:
# headers, and names of symbols that nothing loads by name. That is 0.6 GB.
set -eu
pip --python /opt/headserve/bin/python install --only-binary :all: --require-hashes --requirement "$1"
cd /opt/headserve/lib/python3.*/site-packages/tensorflow
rm -r include
strip --strip-unneeded libtensorflow_cc.so.2 libtensorflow_framework.so.2
