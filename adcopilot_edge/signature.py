"""Signed bundles: Ed25519 over the bytes of ``manifest.json``, in ``manifest.sig`` beside it.

The manifest has the hash of every file, so its signature is one of all of them. What is measured on
a device and kept in the bundle's folder (ranges, verdict states) is not in the manifest, and not
signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.bundle import MANIFEST_NAME, SIGNATURE_NAME, open_bundle
from adcopilot_edge.errors import (
    BundleNotFoundError,
    ConfigError,
    MissingExtraError,
    SignatureError,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

_HOW_TO_MAKE = "Make a pair with: openssl genpkey -algorithm ed25519 -out private.pem"
_HOW_TO_SIGN = "Sign it with: adcopilot-edge sign BUNDLE --key private.pem"
_LONGEST = 1024


def sign_bundle(bundle: Path, key: Path) -> str:
    """Hash the files of a bundle, sign its manifest, and return the bundle's id.

    Raises:
        ConfigError: ``key`` is no private key of Ed25519 in PEM without a password.
        BundleError: The bundle is damaged, or the signature can't be written.
        MissingExtraError: The extra ``serve`` is not installed.
    """
    private = _private_key(key)
    opened = open_bundle(bundle)
    raw = (bundle / MANIFEST_NAME).read_bytes()
    if hashlib.sha256(raw).hexdigest()[:16] != opened.id:
        raise SignatureError(f"{bundle} changed while it was read; sign it again")
    try:
        with atomic_write(bundle / SIGNATURE_NAME) as file:
            file.write(base64.b64encode(private.sign(raw)) + b"\n")
    except OSError as err:
        raise SignatureError(f"{bundle / SIGNATURE_NAME} can't be written: {err.strerror}") from err
    return opened.id


def check_signature(bundle: Path, public_key: Path) -> str:
    """The id of a bundle whose manifest is signed; reads no other file of it.

    Raises:
        ConfigError: ``public_key`` is no public key of Ed25519 in PEM.
        SignatureError: There is no signature, or it is none of that key over this manifest.
        BundleNotFoundError: There is no manifest.
        MissingExtraError: The extra ``serve`` is not installed.
    """
    public = _public_key(public_key)
    from cryptography.exceptions import InvalidSignature

    try:
        raw = (bundle / MANIFEST_NAME).read_bytes()
    except OSError as err:
        raise BundleNotFoundError(
            f"no bundle at {bundle}: {MANIFEST_NAME} can't be read: {err.strerror}"
        ) from err
    signature = _read_signature(bundle / SIGNATURE_NAME)
    try:
        public.verify(signature, raw)
    except InvalidSignature as err:
        raise SignatureError(
            f"{bundle} is not what was signed with the key of {public_key}: its manifest was "
            f"changed, or another key signed it. Copy the bundle again, or {_HOW_TO_SIGN.lower()}"
        ) from err
    return hashlib.sha256(raw).hexdigest()[:16]


def _read_signature(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST)
    except FileNotFoundError as err:
        raise SignatureError(f"{path.parent} has no signature. {_HOW_TO_SIGN}") from err
    except OSError as err:
        raise SignatureError(f"{path} can't be read: {err.strerror}") from err
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error as err:
        raise SignatureError(f"{path} is no signature. {_HOW_TO_SIGN}") from err


def _private_key(path: Path) -> ed25519.Ed25519PrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as err:
        raise _missing() from err
    content = _read_key(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError as err:
        raise ConfigError(
            f"{path} is locked by a password. Unlock it: openssl pkey -in {path} -out private.pem"
        ) from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise ConfigError(f"{path} is no private key in PEM. {_HOW_TO_MAKE}") from err
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"{path} is a key, and none of Ed25519. {_HOW_TO_MAKE}")
    return key


def _public_key(path: Path) -> ed25519.Ed25519PublicKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as err:
        raise _missing() from err
    content = _read_key(path)
    how = "Take it from the private one: openssl pkey -in private.pem -pubout -out public.pem"
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise ConfigError(f"{path} is no public key in PEM. {how}") from err
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ConfigError(f"{path} is a key, and none of Ed25519. {how}")
    return key


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise ConfigError(f"the key {path} can't be read: {err.strerror}") from err


def _missing() -> MissingExtraError:
    return MissingExtraError(feature="a signed bundle", extra="serve", package="cryptography")
