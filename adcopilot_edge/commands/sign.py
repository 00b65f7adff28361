"""``sign``: a bundle that a daemon knows to be yours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json


def sign(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    key: Annotated[Path, typer.Option(help="Private key of Ed25519, in PEM.")],
    as_json: Json = False,
) -> None:
    """Hash a bundle's files, and write manifest.sig: Ed25519 over manifest.json.

    A daemon with public_key in the table daemon of its station file refuses a bundle that is not
    signed by that key. Make a pair of keys with

      openssl genpkey -algorithm ed25519 -out private.pem
      openssl pkey -in private.pem -pubout -out public.pem

    Example: adcopilot-edge sign bundle --key private.pem
    """
    from adcopilot_edge.signature import sign_bundle

    bundle_id = sign_bundle(bundle, key)
    if as_json:
        print_json({"bundle": bundle_id, "signed": True})
    else:
        print_fact("signed", bundle_id)
