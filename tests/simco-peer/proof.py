"""Challenge and token, RFC 4540 §7.2 and §7.3. What stands in them the RFC leaves open: this is what docs/simco.md says."""

import hashlib
import hmac
import os

# Whose token it is.
AGENT, MIDDLEBOX = b"A", b"M"


def mac(secret, octets):
    return hmac.new(secret, octets, hashlib.sha256).digest()


def key_id(secret):
    return mac(secret, b"SIMCO 3.0 HMAC-SHA-256 key id")[:8]


def challenge(secret):
    """An agent's, by which a middlebox with many agents finds the secret that is meant."""
    return key_id(secret) + os.urandom(32)


def token(secret, role, of_agent, of_middlebox):
    """The proof of `role`, over both challenges; b"" for one that was not sent."""
    octets = b"SIMCO 3.0 HMAC-SHA-256 token" + role
    for one in (of_agent, of_middlebox):
        octets += len(one).to_bytes(2, "big") + one
    return mac(secret, octets)
