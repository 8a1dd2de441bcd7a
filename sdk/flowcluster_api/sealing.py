"""Sealing credentials to a public key, and opening them: X25519, HKDF and ChaCha20-Poly1305 of `cryptography`.

The sender's key pair is made for one message and forgotten. The UIDs of run and cluster are authenticated with it: what
was sealed for one run, or by the keeper of one cluster, opens for no other.

Operator and keeper import this module; the rest of the SDK does without `cryptography`.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flowcluster_api.handover import CREDENTIALS_LIMIT, FILES

#: What keys are derived for. Another form of the message needs another text.
_PURPOSE = b"flowcluster.dev/sealed-credentials/v1"
_PUBLIC_BYTES, _NONCE_BYTES, _KEY_BYTES = 32, 12, 32


class SealError(ValueError):
    """Credentials cannot be sealed or opened. The message contains nothing of them."""


def new_key() -> X25519PrivateKey:
    """Return another private key."""
    return X25519PrivateKey.generate()


def public_text(private: X25519PrivateKey) -> str:
    """Return the public key that belongs to a private key, in base64."""
    return _text(private.public_key().public_bytes_raw())


def seal(credentials: Mapping[str, bytes], public: str, run: str, cluster: str) -> str:
    """Return credentials that the holder of a private key can open.

    Args:
        credentials: content by file, of all of `FILES`.
        public: key of the reader, in base64.
        run: UID of the FlowRun that they are for.
        cluster: UID of the SharedCluster that they are of.

    Raises:
        SealError: the key is not a public key, or the credentials are too large or incomplete.
    """
    if set(credentials) != set(FILES):
        raise SealError(f"the credentials have the files {sorted(credentials)}, not {sorted(FILES)}")
    plain = json.dumps({name: _text(content) for name, content in sorted(credentials.items())}).encode()
    if len(plain) > CREDENTIALS_LIMIT:
        raise SealError(f"the credentials have {len(plain)} bytes, and {CREDENTIALS_LIMIT} can be sealed")
    private, nonce = new_key(), os.urandom(_NONCE_BYTES)
    sender, reader = private.public_key().public_bytes_raw(), _bytes(public)
    cipher = _cipher(private, reader, sender + reader)
    return _text(sender + nonce + cipher.encrypt(nonce, plain, _context(run, cluster)))


def open_sealed(sealed: str, private: X25519PrivateKey, run: str, cluster: str) -> dict[str, str]:
    """Return the data of a Secret with the credentials: base64 by file.

    Args:
        sealed: what `seal` returned.
        private: key of the reader.
        run: UID of the FlowRun that they are for.
        cluster: UID of the SharedCluster that they are of.

    Raises:
        SealError: the text was sealed to another key, for another run or by another cluster, or was changed.
    """
    message, reader = _bytes(sealed), private.public_key().public_bytes_raw()
    sender, nonce = message[:_PUBLIC_BYTES], message[_PUBLIC_BYTES : _PUBLIC_BYTES + _NONCE_BYTES]
    cipher = _cipher(private, sender, sender + reader)
    try:
        plain = cipher.decrypt(nonce, message[_PUBLIC_BYTES + _NONCE_BYTES :], _context(run, cluster))
    except (InvalidTag, ValueError):
        raise SealError("the answer was sealed to another key, for another run, or was changed") from None
    return _credentials(plain)


def _credentials(plain: bytes) -> dict[str, str]:
    """Return the content of a message, which nothing but the sender's honesty vouches for."""
    try:
        data: Any = json.loads(plain) if len(plain) <= CREDENTIALS_LIMIT else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or set(data) != set(FILES):
        raise SealError("the answer does not contain credentials")
    for content in data.values():
        if not isinstance(content, str):
            raise SealError("the answer does not contain credentials")
        _bytes(content)
    return data


def _cipher(private: X25519PrivateKey, public: bytes, parties: bytes) -> ChaCha20Poly1305:
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise SealError("the text is not a public key") from None
    derived = HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=_PURPOSE + parties).derive(shared)
    return ChaCha20Poly1305(derived)


def _context(run: str, cluster: str) -> bytes:
    return json.dumps([run, cluster]).encode()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    """Return what a text in base64 stands for; each content has one text."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SealError("the text is not base64") from None
    if _text(content) != text:
        raise SealError("the text is not base64")
    return content
