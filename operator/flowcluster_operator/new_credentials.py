"""Create the credentials of a run. Not pure: every call returns other credentials."""

from __future__ import annotations

import base64
import datetime as dt
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flowcluster_api.driver import TOKEN_FILE

#: Validity of the certificate: no run lasts longer.
LIFETIME = dt.timedelta(days=3650)
#: How long before its creation the certificate is valid already: clocks of nodes differ.
_EARLIER = dt.timedelta(days=1)


def new_credentials(name: str) -> dict[str, str]:
    """Return the data of a Secret: a self-signed certificate for all parts of a run, its key, and a token for Ray.

    Args:
        name: common name of the certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = {"ca.crt": pem, "tls.crt": pem, "tls.key": private, TOKEN_FILE: secrets.token_urlsafe(32).encode()}
    return {file: base64.b64encode(content).decode() for file, content in files.items()}
