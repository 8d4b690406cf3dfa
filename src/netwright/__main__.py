"""`python -m netwright` is `netwright`."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import threading
from typing import NoReturn


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    from netwright.cli import run

    arguments = sys.argv[1:]
    code = run(arguments)
    if "examine" in arguments:  # a program of anyone's has run in this process, and may rely on its whole end
        sys.exit(code)
    end(code)


def end(code: int) -> NoReturn:
    """Ends the process with `code` as Python does, but for the taking down of each module and object.

    That of PyTorch takes 0.4 s and more. Exit functions are called and open files flushed; where a thread would be waited for, or
    anything of it fails, Python ends as ever.
    """
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        try:
            atexit._run_exitfuncs()
            for one in gc.get_objects():
                if type(one) in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom) and not one.closed:
                    one.flush()
        except Exception:
            sys.exit(code)
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
