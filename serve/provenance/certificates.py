"""Certificates of signing keys: what they say, and how a private authority makes them.

The profile is C2PA's (specification 2.2, 14.5): version 3, key usage ``digitalSignature``, an
extended key usage for signing documents or e-mail, and the identifiers of both keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

VALID_FOR: Final = timedelta(days=3652)
"""Ten years: without a time stamp, a picture is valid no longer than the certificate."""
_CLOCK_SKEW: Final = timedelta(hours=1)
_ORGANISATION: Final = "Cascade Serve, self-made"
_CURVES: Final = {256: "es256", 384: "es384", 521: "es512"}
_MIN_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """A private authority and a certificate that it has issued, all in PEM.

    Attributes:
        authority_pem, authority_key_pem: the authority's own certificate and key.
        chain_pem: the signer's certificate, then the authority's.
        key_pem: the signer's key.
    """

    authority_pem: str
    authority_key_pem: str
    chain_pem: str
    key_pem: str


def certificates_in(pem: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text, in its order.

    Raises:
        ValueError: it holds none, or a damaged one.
    """
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise ValueError("holds no sound certificate in PEM") from error


def algorithm_of(chain_pem: str) -> str:
    """Return C2PA's name of the algorithm that the first certificate's key signs with.

    Raises:
        ValueError: no certificate, or a key that C2PA does not allow.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = certificates_in(chain_pem)[0].public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return "ps256"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size in _CURVES:
        return _CURVES[key.key_size]
    raise ValueError("its key must be ECDSA (P-256, P-384, P-521), Ed25519 or RSA of 2048 bits")


def ends_at(chain_pem: str) -> datetime:
    """Return when the first certificate of a chain that ends will end, in UTC."""
    return min(found.not_valid_after_utc for found in certificates_in(chain_pem))


def split_chain(chain_pem: str) -> tuple[str, str]:
    """Return the certificates to write into files, and the one that vouches for them.

    A root is known to those that trust it, so files hold the certificates below it alone.
    """
    found = certificates_in(chain_pem)
    is_root = found[-1].subject == found[-1].issuer and len(found) > 1
    written = found[:-1] if is_root else found
    return "".join(map(_pem, written)), _pem(found[-1])


def make_credentials(now: datetime | None = None) -> NewCredentials:
    """Make a private authority and have it issue a certificate for signing (ES256)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    since = now or datetime.now(UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    identifier = x509.SubjectKeyIdentifier.from_public_key
    authority = (
        _blank("authority", "authority", ca_key, since)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier(ca_key.public_key()), critical=False)
    )
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    leaf = (
        _blank("signer", "authority", key, since)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(identifier(key.public_key()), critical=False)
        .add_extension(issuer_id, critical=False)
    )
    authority_pem, leaf_pem = (_signed(found, ca_key) for found in (authority, leaf))
    return NewCredentials(authority_pem, _key_pem(ca_key), leaf_pem + authority_pem, _key_pem(key))


def _blank(
    subject: str, issuer: str, key: EllipticCurvePrivateKey, since: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - _CLOCK_SKEW)
        .not_valid_after(since + VALID_FOR)
    )


def _name(role: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION)
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, f"Cascade {role}")])


def _usage(**allowed: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**dict.fromkeys(names, False) | allowed)


def _signed(blank: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import hashes

    return _pem(blank.sign(key, hashes.SHA256()))


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    private = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, private, plain).decode()
