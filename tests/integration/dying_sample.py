"""`aegis data sample` in a process that a signal meets at one moment: `MOMENT SIGNAL words...`.

By itself no test could hit one of these moments: between the last two of them are microseconds.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis_deploy.cli.main import main
from aegis_deploy.data import sample
from aegis_deploy.data.data_set import directory as data_set
from aegis_deploy.data.data_set import in_s3

_MARK = "INCOMPLETE"


@dataclass(frozen=True)
class Moment:
    """Just before something is called.

    Attributes:
        owner: Whose attribute it is.
        name: The attribute.
        counts: Whether a call with these arguments is one of those that are counted.
        call: Which of them it is.
    """

    owner: Any
    name: str
    counts: Callable[..., bool] = lambda *_: True
    call: int = 1


MOMENTS = {
    "while rows are chosen": Moment(sample, "select"),
    "in a file of rows": Moment(data_set.RowFile, "add", call=100),
    "in an object of rows": Moment(
        in_s3._Objects, "ask", lambda _, request, *__: request == "upload_part", call=2
    ),
    "before the manifest": Moment(data_set, "finish"),
    "before it is in its place": Moment(
        Path, "rename", lambda it, _: it.name.endswith(".incomplete")
    ),
    "before the mark is gone": Moment(Path, "unlink", lambda it, *_: it.name == _MARK),
    # The first one puts it there.
    "before the object that marks it is gone": Moment(in_s3, "swap", call=2),
}


def meet(moment: Moment, number: int) -> None:
    """Have the process get a signal at a moment.

    Args:
        moment: When.
        number: The signal's.
    """
    call = getattr(moment.owner, moment.name)
    calls = 0

    def met(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += moment.counts(*given)
        if calls == moment.call and moment.counts(*given):
            os.kill(os.getpid(), number)
        return call(*given, **named)

    setattr(moment.owner, moment.name, met)


if __name__ == "__main__":
    meet(MOMENTS[sys.argv[1]], signal.Signals[sys.argv[2]])
    sys.exit(main(["data", "sample", *sys.argv[3:]]))
