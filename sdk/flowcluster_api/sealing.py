"""Seal credentials to a public key, and open them: X25519, HKDF and ChaCha20-Poly1305 of `cryptography`.

The sender makes a new key pair for each message and does not keep it. The message authenticates the UIDs of run and
cluster: it cannot be opened as a message for another run, or from the keeper of another cluster.

Only operator and keeper import this module; the rest of the SDK does not need `cryptography`.
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

#: Context of the key derivation. Another format of the message needs another text.
_PURPOSE = b"flowcluster.dev/sealed-credentials/v1"
_PUBLIC_BYTES, _NONCE_BYTES, _KEY_BYTES = 32, 12, 32


class SealError(ValueError):
    """Credentials cannot be sealed or opened. The error's message contains no part of them."""


def new_key() -> X25519PrivateKey:
    """Return a new private key."""
    return X25519PrivateKey.generate()


def public_text(private: X25519PrivateKey) -> str:
    """Return the public key of a private key, in base64."""
    return _text(private.public_key().public_bytes_raw())


def seal(credentials: Mapping[str, bytes], public: str, run: str, cluster: str) -> str:
    """Return sealed credentials, which only the holder of the reader's private key can open.

    Args:
        credentials: content by file, for all of `FILES`.
        public: the reader's public key, in base64.
        run: UID of the FlowRun that gets the credentials.
        cluster: UID of the SharedCluster whose credentials these are.

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
        private: the reader's private key.
        run: UID of the FlowRun that gets the credentials.
        cluster: UID of the SharedCluster whose credentials these are.

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
    """Parse and check the plain text of a message. Decryption does not prove that its sender is honest."""
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
    """Decode a text in base64; refuse a text that is not the canonical encoding of its content."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SealError("the text is not base64") from None
    if _text(content) != text:
        raise SealError("the text is not base64")
    return content
