"""The command line: the list of commands, and the one place where errors become exit codes.

Each command lives in its module under ``commands/`` and imports what it needs when it runs, so
``--help`` stays fast and a device never looks for workshop packages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

import adcopilot_edge
from adcopilot_edge.commands.build import build
from adcopilot_edge.commands.calibrate import calibrate
from adcopilot_edge.commands.curate import curate
from adcopilot_edge.commands.demo import demo
from adcopilot_edge.commands.demo_line import demo_line
from adcopilot_edge.commands.doctor import doctor
from adcopilot_edge.commands.evaluate import evaluate
from adcopilot_edge.commands.export import export
from adcopilot_edge.commands.gate import gate
from adcopilot_edge.commands.golden import add, list_packs, prune, remove
from adcopilot_edge.commands.inspect import inspect
from adcopilot_edge.commands.merge import merge
from adcopilot_edge.commands.precisions import precisions
from adcopilot_edge.commands.profile import profile
from adcopilot_edge.commands.records import export_table
from adcopilot_edge.commands.replay import replay
from adcopilot_edge.commands.sensitivity import sensitivity
from adcopilot_edge.commands.serve import serve
from adcopilot_edge.commands.service import install
from adcopilot_edge.commands.sign import sign
from adcopilot_edge.commands.token import add_token, list_tokens, remove_token
from adcopilot_edge.commands.train import train
from adcopilot_edge.commands.verify import verify
from adcopilot_edge.errors import EdgeError

COMMANDS = (
    demo,
    demo_line,
    inspect,
    export,
    build,
    verify,
    sign,
    calibrate,
    sensitivity,
    precisions,
    gate,
    curate,
    train,
    merge,
    evaluate,
    profile,
    serve,
    replay,
    doctor,
)
GOLDEN_COMMANDS: dict[str, Callable[..., None]] = {
    "add": add,
    "list": list_packs,
    "remove": remove,
    "prune": prune,
}
RECORDS_COMMANDS: dict[str, Callable[..., None]] = {"export": export_table}
TOKEN_COMMANDS: dict[str, Callable[..., None]] = {
    "add": add_token,
    "list": list_tokens,
    "remove": remove_token,
}


def new_app(name: str) -> typer.Typer:
    """An empty command line with the manners of this one."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # plain text, and rich is not even loaded
        pretty_exceptions_enable=False,  # a bug shows Python's own traceback
    )


app = new_app("adcopilot-edge")
for command in COMMANDS:
    app.command()(command)
golden = new_app("golden")
for word, golden_command in GOLDEN_COMMANDS.items():
    golden.command(word)(golden_command)
app.add_typer(golden, help="Golden packs: what is constant for a golden image, kept on disk.")
records = new_app("records")
for word, records_command in RECORDS_COMMANDS.items():
    records.command(word)(records_command)
app.add_typer(records, help="The records of a daemon's parts.")
token = new_app("token")
for word, token_command in TOKEN_COMMANDS.items():
    token.command(word)(token_command)
app.add_typer(token, help="Tokens: who may come in at the daemon's door.")
service = new_app("service")
service.command("install")(install)
app.add_typer(service, help="The daemon as a service of systemd.")


@service.callback()
def _service() -> None:
    """The daemon as a service of systemd."""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(adcopilot_edge.__version__)
        raise typer.Exit


@app.callback()
def adcopilot(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Inspect parts against a golden image, on a device without torch.

    Results go to stdout, everything else to stderr. With --json a command prints exactly one
    object (inspect with several test images one a line for each); if it fails, that is
    {"error": {"kind": "ImageNotFoundError", "message": "..."}}.

    Exit codes: 0 done, 1 a check failed, 2 wrong usage or setting, 3 bundle, 4 export or parity,
    5 calibration data, 6 inspection, 7 daemon, 8 gate refused, 10 anomaly found with
    --fail-on-anomaly.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit the process.

    Args:
        arguments: The words behind the program's name; None takes those of the process.
    """
    run_app(app, sys.argv[1:] if arguments is None else arguments, name="adcopilot-edge")


def run_app(app: typer.Typer, words: Sequence[str], *, name: str) -> NoReturn:
    """Run a command line of ours under the program's ``name`` and exit the process."""
    try:
        app(args=list(words), prog_name=name)
    except EdgeError as err:
        print(f"error: {err}", file=sys.stderr)
        if "--json" in words:
            print(json.dumps({"error": {"kind": type(err).__name__, "message": str(err)}}))
        sys.exit(err.exit_code)
    sys.exit(0)
