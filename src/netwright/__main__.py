"""`python -m netwright` is `netwright`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    from netwright.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
