"""Runs programs one by one in forked children of one process that has torch loaded, plainly or under the examiner.

python run_programs.py plain|examined OUT PROGRAM...   writes OUT/NAME.out (stdout), OUT/NAME.code, OUT/NAME.json
"""

import os
import sys
from pathlib import Path

import torch
import torch._dynamo

from netwright.examine import observer as _loaded  # noqa: F401
from netwright.examine import run_script


def child(how: str, program: str, out: Path) -> None:
    name = Path(program).stem
    file = os.open(out / f"{name}.out", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(file, 1)
    code = 0
    if how == "plain":
        import runpy

        sys.argv = [program]
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
    else:
        result = run_script(program)
        result.save(out / f"{name}.json")
        code = result.script_exit
        left = len(torch.nn.modules.module._global_forward_hooks) + torch._C._len_torch_function_stack()
        assert not left, "something of the examiner is left"
    sys.stdout.flush()
    (out / f"{name}.code").write_text(str(code))
    os._exit(0)


if __name__ == "__main__":
    how, out, *programs = sys.argv[1:]
    torch.set_num_threads(1)
    for program in programs:
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            try:
                child(how, program, Path(out))
            finally:
                os._exit(1)
        os.waitpid(process, 0)
