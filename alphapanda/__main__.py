"""`python -m alphapanda` is the command line."""

from alphapanda.cli import main

main()
