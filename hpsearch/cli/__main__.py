"""`python -m hpsearch.cli`."""

from hpsearch.cli import main

main()
