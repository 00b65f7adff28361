"""``optimum-cli export adcopilot``: our ``export`` with the bundle's folder as its second argument.

All else is derived from the command itself, its help included. Knows nothing of optimum, which
finds its way here from ``optimum/``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from adcopilot_edge.cli import new_app, run_app
from adcopilot_edge.commands.export import export

ALIAS = "optimum-cli export adcopilot"


def export_by_alias(words: Sequence[str]) -> NoReturn:
    """Run the export that ``words`` ask for, as ``adcopilot-edge export`` would, and exit."""
    app = new_app(ALIAS)
    app.command()(_with_out_as_argument(export))
    run_app(app, words, name=ALIAS)


def _with_out_as_argument(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with its option ``--out`` as an argument, in the signature and in the help."""
    signature = inspect.signature(command, eval_str=True)
    (option,) = signature.parameters["out"].annotation.__metadata__
    argument = Annotated[Path, typer.Argument(help=option.help)]
    parameters = [
        parameter.replace(annotation=argument) if parameter.name == "out" else parameter
        for parameter in signature.parameters.values()
    ]

    @functools.wraps(command)
    def alias(**values: object) -> None:
        command(**values)

    alias.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    examples = (inspect.getdoc(command) or "").replace("adcopilot-edge export", ALIAS)
    alias.__doc__ = examples.replace(" --out ", " ")
    return alias
