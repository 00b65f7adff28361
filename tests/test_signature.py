"""Bundles that are signed, and bundles that are not what was signed."""

from __future__ import annotations

import base64
import json
import os
import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from adcopilot_edge.bundle import list_files, open_bundle
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import BundleError, BundleNotFoundError, ConfigError, SignatureError
from adcopilot_edge.runtime.daemon import worker_process
from adcopilot_edge.runtime.daemon.messages import Refused, WorkerSetup
from adcopilot_edge.signature import check_signature, sign_bundle

PEM = serialization.Encoding.PEM


def key_files(folder, name="key", key=None, lock=None):
    key = key or ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.private.pem", folder / f"{name}.public.pem"
    private.write_bytes(
        key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, lock or serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path):
    return key_files(tmp_path)


@pytest.fixture
def bundle(tmp_path):
    return shutil.copytree(embedded_bundle(), tmp_path / "bundle")


def test_a_signed_bundle_is_known(bundle, keys):
    private, public = keys
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    bundle_id = sign_bundle(bundle, private)
    assert check_signature(bundle, public) == bundle_id == open_bundle(bundle).id
    assert {path: path.read_bytes() for path in before} == before
    assert "manifest.sig" not in list_files(bundle)


def test_the_signature_is_one_over_the_bytes_of_the_manifest(bundle, keys):
    private, public = keys
    sign_bundle(bundle, private)
    key = serialization.load_pem_public_key(public.read_bytes())
    signature = base64.b64decode((bundle / "manifest.sig").read_bytes())
    key.verify(signature, (bundle / "manifest.json").read_bytes())


def test_a_bundle_without_a_signature_is_refused(bundle, keys):
    with pytest.raises(SignatureError, match=r"no signature.*adcopilot-edge sign"):
        check_signature(bundle, keys[1])


def test_the_signature_of_another_key_is_refused(bundle, keys, tmp_path):
    sign_bundle(bundle, key_files(tmp_path, "other")[0])
    with pytest.raises(SignatureError, match="another key"):
        check_signature(bundle, keys[1])


def test_a_changed_manifest_is_refused(bundle, keys):
    sign_bundle(bundle, keys[0])
    manifest = bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(SignatureError, match="changed"):
        check_signature(bundle, keys[1])


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"AAAA", b"not base64!", b"A" * 5000])
def test_a_damaged_signature_is_refused(bundle, keys, content):
    (bundle / "manifest.sig").write_bytes(content)
    with pytest.raises(SignatureError):
        check_signature(bundle, keys[1])


def test_a_damaged_bundle_is_not_signed(bundle, keys):
    name = next(iter(open_bundle(bundle).manifest.files))
    with (bundle / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="damaged"):
        sign_bundle(bundle, keys[0])
    assert not (bundle / "manifest.sig").exists()


def test_no_bundle_is_not_signed(tmp_path, keys):
    with pytest.raises(BundleNotFoundError):
        sign_bundle(tmp_path, keys[0])
    with pytest.raises(BundleNotFoundError):
        check_signature(tmp_path, keys[1])


def test_keys_of_another_kind_are_refused(bundle, tmp_path, keys):
    private, public = key_files(tmp_path, "ec", ec.generate_private_key(ec.SECP256R1()))
    locked, _ = key_files(tmp_path, "locked", lock=serialization.BestAvailableEncryption(b"word"))
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(b"no key")
    for key in (private, locked, wrong, tmp_path / "absent.pem", keys[1]):
        with pytest.raises(ConfigError, match=str(key.name)):
            sign_bundle(bundle, key)
    for key in (public, wrong, tmp_path / "absent.pem", keys[0]):
        with pytest.raises(ConfigError, match=str(key.name)):
            check_signature(bundle, key)


def test_sign_and_verify_on_the_command_line(cli, bundle, keys, tmp_path):
    private, public = keys
    _, other = key_files(tmp_path, "other")
    assert cli("verify", bundle, "--public-key", public)[0] == 3
    code, out, _ = cli("sign", bundle, "--key", private, "--json")
    assert (code, json.loads(out)) == (0, {"bundle": open_bundle(bundle).id, "signed": True})
    assert cli("verify", bundle, "--public-key", other)[0] == 3
    assert cli("verify", bundle, "--public-key", public)[0] == 0
    assert "private" not in out


class Pipe:
    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)


def start(tmp_path, monkeypatch, bundle, public):
    """What a worker says that starts with that bundle and key."""
    monkeypatch.setattr(worker_process.signal, "signal", lambda *_: None)
    pipe = Pipe()
    setup = WorkerSetup(
        bundle=bundle,
        provider="cpu",
        threads=1,
        packs=tmp_path / "packs",
        products={},
        public_key=public,
    )
    monkeypatch.setattr(worker_process._Worker, "run", lambda self: None)
    worker_process.run_worker(pipe, setup)
    return pipe.sent


def test_a_worker_opens_nothing_of_an_unsigned_bundle(tmp_path, monkeypatch, bundle, keys):
    monkeypatch.setattr(worker_process.Inspector, "open", lambda *_, **__: os.abort())
    last = start(tmp_path, monkeypatch, bundle, keys[1])[-1]
    assert isinstance(last, Refused)
    assert (last.exit_code, "no signature" in last.message) == (3, True)


def test_a_worker_takes_a_signed_bundle(tmp_path, monkeypatch, bundle, keys):
    sign_bundle(bundle, keys[0])
    last = start(tmp_path, monkeypatch, bundle, keys[1])[-1]
    assert type(last).__name__ == "Ready"


def test_a_worker_refuses_a_file_that_is_not_the_signed_one(tmp_path, monkeypatch, bundle, keys):
    sign_bundle(bundle, keys[0])
    name = next(name for name in open_bundle(bundle).manifest.files if name.endswith(".onnx"))
    with (bundle / name).open("r+b") as file:
        file.write(b"\0")
    last = start(tmp_path, monkeypatch, bundle, keys[1])[-1]
    assert isinstance(last, Refused)
    assert last.exit_code == 3


def test_a_worker_refuses_a_bundle_that_was_swapped(tmp_path, monkeypatch, bundle, keys):
    sign_bundle(bundle, keys[0])
    monkeypatch.setattr(worker_process, "check_signature", lambda *_: "0123456789abcdef")
    last = start(tmp_path, monkeypatch, bundle, keys[1])[-1]
    assert isinstance(last, Refused)
    assert "changed between" in last.message
