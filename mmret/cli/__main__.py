"""`python -m mmret.cli`, where the command itself is not on the path."""

from mmret.__main__ import main

main()
