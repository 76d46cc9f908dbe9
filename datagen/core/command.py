"""What all commands share: how a mistake or a failure becomes one sentence and an exit code.

0: done. 1: some work failed, what is done is kept. 2: wrong usage or input. 3: Ray, or its last machine, has died; what
is done is kept. 130: interrupted.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from datagen.core.errors import ClusterLostError, InputError, UnfinishedError
from datagen.core.terminal import console_for_errors, lasting_streams

UNFINISHED, WRONG_INPUT, INTERRUPTED = 1, 2, 130
DOOR = "mindgap"
"""The console script through which every command can be given."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def errors_in_a_sentence(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorates the function of a click command.

    A mistake of the user's, a disk that refuses or Ctrl-C ends it with one sentence on standard error and the exit code
    above, and printing never ends it.
    """

    @functools.wraps(command)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with lasting_streams():
            try:
                return command(*args, **kwargs)
            except InputError as error:
                sentence, code = str(error), WRONG_INPUT
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                sentence = f"{error.strerror or error}{where}. Fix it, then give the same command again."
                code = WRONG_INPUT
            except UnfinishedError as error:
                sentence, code = f"{error}. The same command tries again, and keeps what is done.", UNFINISHED
            except ClusterLostError as error:
                console_for_errors().print(f"Error: {error.sentence}", style="red")
                # Ray's own end would wait for what is no more, and end the process with words and a code of its own.
                os._exit(ClusterLostError.EXIT_CODE)
            except KeyboardInterrupt:
                sentence, code = "", INTERRUPTED
            if code == INTERRUPTED:
                console_for_errors().print("Interrupted. The same command goes on where this one stopped.")
            else:
                console_for_errors().print(f"Error: {sentence}", style="red")
            sys.exit(code)

    return guarded


def in_this_shell(command: str) -> str:
    """A command with the path of its program, where the shell would find none or another.

    So it is after `make`, which activates no environment.
    """
    program, _, rest = command.partition(" ")
    own, found = Path(sys.executable).with_name(program), shutil.which(program)
    if not own.exists() or (found and Path(found).parent.resolve() == own.parent.resolve()):
        return command
    from_here = os.path.relpath(own)
    return f"{shlex.quote(str(own) if from_here.startswith('..') else from_here)} {rest}".strip()


def command_line(module: str) -> str:
    """The command that runs now, to be given again in a shell.

    Args:
        module: its module, for one that was not given as `mindgap ...`.
    """
    begun = [DOOR] if Path(sys.argv[0]).name == DOOR else ["python", "-m", module]
    return shlex.join([*begun, *sys.argv[1:]])
