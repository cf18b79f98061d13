"""`python -m mmret.cli`, where the command itself is not on the path."""

from mmret.cli import main

main()
