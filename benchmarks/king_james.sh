#!/bin/sh
# Bits per character of a small transformer and of an LSTM on the King James Bible, two epochs each:
# `sh benchmarks/king_james.sh`, about 5 minutes each on two cores. The text is Debian's bible-kjv.
set -eu
PYTHON=${PYTHON:-python}
TEXT=$(mktemp)
trap 'rm -f "$TEXT"' EXIT
bible gen1:1-rev22:21 > "$TEXT"
train() {
    "$PYTHON" -m benchmarks.accuracy king_james --set "dataset.path=$TEXT" --set "model=$1" \
        --set search.early_stopping.max_epochs=2 --set search.early_stopping.grace_period=1
}
train '{name: rnn, cell: lstm, hidden_size: 256}'
train '{name: transformer, width: 128, layers: 2, heads: 4, positions: rotary, dropout: 0.0}'
