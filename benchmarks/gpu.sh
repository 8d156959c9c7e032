#!/bin/sh
# The tests that need a GPU, the accuracy of search_spaces/more/ on Fashion-MNIST where its files are
# there, then benchmarks.fusion: one command of under ten minutes.
#
#   [OUT=build/gpu] [PYTHON=python3] sh benchmarks/gpu.sh [options of benchmarks.fusion]
#
# For a machine with one NVIDIA GPU and Python 3.11 or newer. A torch that sees the GPU is used as
# it is; else torch is installed into a virtual environment that is removed at the end. pip's own
# variables (PIP_NO_INDEX, PIP_FIND_LINKS) say where packages come from. Everything is written
# below $OUT; where a part fails the others run nevertheless. Without a GPU it is a dry run.
set -u
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-build/gpu}
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1
LIMIT=${LIMIT:-570} # seconds
started=$(date +%s)
SITE=$(mktemp -d) || exit 1
trap 'rm -rf "$SITE"' EXIT
PYTHON=${PYTHON:-}
summary="" failed=0
export PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

left() { echo $((LIMIT - $(date +%s) + started)); }

# holds PYTHON CONDITION: whether it is true there, of a Python that is new enough
holds() {
    command -v "$1" >/dev/null &&
        "$1" -c "import sys; assert sys.version_info >= (3, 11); $2" 2>/dev/null
}

choose_python() {
    pythons="$PYTHON .venv/bin/python python3 python3.13 python3.12 python3.11 python"
    for python in $pythons; do
        holds "$python" "import torch; assert torch.cuda.is_available()" && PYTHON=$python && return
    done
    if ! command -v nvidia-smi >/dev/null; then
        echo "no GPU: a dry run on the CPU"
        for python in $pythons; do
            holds "$python" "import torch" && PYTHON=$python && return
        done
    fi
    for python in $pythons; do
        if holds "$python" "import venv"; then
            "$python" -m venv "$SITE/venv" || continue
            PYTHON=$SITE/venv/bin/python
            # on Linux PyPI's torch is the one for CUDA
            timeout 300 "$PYTHON" -m pip install --quiet 'torch>=2.9' 'numpy>=2.1'
            return
        fi
    done
}

# Installs what lanes and their tests need beside torch, and neither Ray nor MLflow, to a
# folder of its own: an environment that was there before stays as it is.
install_missing() {
    "$PYTHON" - >"$SITE/missing" <<'END'
from importlib.util import find_spec

NEEDED = {
    "annotated_types": "annotated-types>=0.7",
    "greenlet": "greenlet>=3.1",
    "matplotlib": "matplotlib>=3.10",
    "numpy": "numpy>=2.1",
    "optuna": "optuna>=5.0,<6",
    "pandas": "pandas>=2.2",
    "pydantic": "pydantic>=2.12,<3",
    "pytest": "pytest>=8.4",
    "sklearn": "scikit-learn>=1.6",
    "yaml": "pyyaml>=6.0.2",
}
print(*(package for name, package in NEEDED.items() if find_spec(name) is None), sep="\n")
END
    grep -q . "$SITE/missing" || return 0
    timeout 120 "$PYTHON" -m pip install --quiet --target "$SITE/packages" -r "$SITE/missing"
}

# run NAME SECONDS COMMAND ...: its output is NAME.log, how it ended is added to the summary.
run() {
    name=$1 seconds=$2
    shift 2
    [ "$seconds" -le "$(left)" ] || seconds=$(left)
    if [ "$seconds" -lt 10 ]; then
        summary="$summary$name: left out, no time\n" failed=1
        return
    fi
    { timeout "$seconds" "$@" 2>&1; echo $? >"$SITE/status"; } | tee "$OUT/$name.log"
    case $(cat "$SITE/status") in
        0) how=passed ;;
        124) how="stopped after $seconds s" failed=1 ;;
        *) how="failed with $(cat "$SITE/status")" failed=1 ;;
    esac
    summary="$summary$name: $how\n"
}

choose_python
if [ -z "$PYTHON" ]; then
    echo "gpu.sh needs Python 3.11 or newer with venv" | tee "$OUT/summary.txt"
    exit 1
fi
install_missing || summary="packages: not all installed\n"
export PYTHONPATH="$PWD:$SITE/packages${PYTHONPATH:+:$PYTHONPATH}"
nvidia-smi >"$OUT/nvidia-smi.txt" 2>&1
"$PYTHON" -c 'import sys, torch; print(sys.executable, torch.__version__, torch.cuda.is_available())'

# warnings of other versions of packages are no errors here
pytest="$PYTHON -m pytest -q -p no:cacheprovider -W default --continue-on-collection-errors"
holds "$PYTHON" "import xdist" && pytest="$pytest -n 4"
run gpu-tests 120 $pytest -k gpu tests/training/lanes/test_graphs.py tests/training/test_trainer.py
if holds "$PYTHON" "import optuna"; then # that file checks specs, too
    run precision 60 $pytest -k gpu tests/training/test_precision.py
fi
if holds "$PYTHON" "import torch; assert torch.cuda.is_available()"; then
    export HPSEARCH_TEST_DEVICE=cuda
fi
run lanes 120 $pytest tests/training/lanes/test_equality.py tests/training/lanes/test_stacked.py
# one configuration of each: on all of Fashion-MNIST, where its files are in $FASHION_MNIST
FASHION_MNIST=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
if [ -d "$FASHION_MNIST" ] && holds "$PYTHON" "import optuna"; then
    for each in cnn resnet; do
        run "accuracy-$each" 90 "$PYTHON" -m benchmarks.accuracy "fashion_mnist_$each" \
            --set "dataset.data_dir=$FASHION_MNIST" --set resources.gpu=0
    done
fi
budget=$(($(left) - 25))
run fusion $((budget + 15)) "$PYTHON" -m benchmarks.fusion --limit "$budget" --out "$OUT" "$@"

{
    printf '%b' "$summary"
    printf 'all: %s s\n' $(($(date +%s) - started))
    tail -q -n 2 "$OUT/gpu-tests.log" "$OUT/lanes.log"
    tail -q -n 1 "$OUT"/accuracy-*.log
    cat "$OUT/fusion.md"
} 2>/dev/null | tee "$OUT/summary.txt"
exit $failed
