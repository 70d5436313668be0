"""SIMCO 3.0 in octets, written from RFC 4540 §4 and §5 alone: it shares nothing with Postern's own code."""

import ipaddress
import struct
from dataclasses import dataclass, field

# Basic types, §4.2.1.
REQUEST, POSITIVE, NEGATIVE, NOTIFICATION = 1, 2, 3, 4
# Sub-types of requests and positive replies, §4.2.2.
SE, SA, ST = 0x01, 0x02, 0x03
PRR, PER, PEA, PDR, PLC, PRD = 0x11, 0x12, 0x13, 0x14, 0x15, 0x16
PRS, PRL, PES, PDS = 0x21, 0x22, 0x23, 0x24
# Sub-types of notifications, §4.2.4.
BFM, AST, ARE = 0x01, 0x02, 0x03
# Attribute types, §4.3.
VERSION, CHALLENGE, TOKEN, CAPABILITIES, PID, GID, LIFETIME, OWNER, TUPLE, PRR_SET, PER_SET = range(1, 12)
# Locations, §4.3.8.
INTERNAL, INSIDE, OUTSIDE, EXTERNAL = 0, 1, 2, 3
# Directions, §4.3.10.
INBOUND, OUTBOUND, BOTH = 1, 2, 3
UDP, TCP = 17, 6

SUB_TYPES = {
    SE: "SE", SA: "SA", ST: "ST", PRR: "PRR", PER: "PER", PEA: "PEA", PDR: "PDR", PLC: "PLC", PRD: "PRD",
    PRS: "PRS", PRL: "PRL", PES: "PES", PDS: "PDS",
}
ATTRIBUTES = {
    VERSION: "version", CHALLENGE: "challenge", TOKEN: "token", CAPABILITIES: "capabilities", PID: "PID", GID: "GID",
    LIFETIME: "lifetime", OWNER: "owner", TUPLE: "tuple", PRR_SET: "PRR set", PER_SET: "PER set",
}
# Negative replies, §4.2.3.
REASONS = {
    0x10: "wrong basic request message type", 0x11: "wrong request message sub-type", 0x12: "badly formed request",
    0x13: "reply message too big", 0x20: "request not applicable", 0x21: "lack of resources",
    0x22: "protocol version mismatch", 0x23: "authentication failed", 0x24: "no authorization",
    0x25: "transport protocol problem", 0x26: "security of underlying protocol layers insufficient",
    0x40: "transaction not supported", 0x41: "agent not authorized for this transaction",
    0x42: "no resources available for this transaction", 0x43: "specified policy rule does not exist",
    0x44: "specified policy rule group does not exist", 0x45: "not authorized for accessing specified policy",
    0x46: "not authorized for accessing specified group", 0x47: "requested address space not available",
    0x48: "lack of IP addresses", 0x49: "lack of port numbers", 0x4A: "middlebox configuration failed",
    0x4B: "inconsistent request", 0x4C: "requested wildcarding not supported", 0x4D: "protocol type doesn't match",
    0x4E: "NAT mode not supported", 0x4F: "IP version mismatch", 0x50: "conflict with existing rule",
    0x51: "not authorized to change lifetime", 0x52: "lifetime can't be extended", 0x53: "illegal IP Address",
    0x54: "protocol type not supported", 0x55: "illegal port number", 0x56: "illegal number of subsequent ports",
    0x57: "already enable PID", 0x58: "parity doesn't match",
}


@dataclass
class Message:
    """One SIMCO message: header fields and attributes as (type, value) pairs."""

    basic: int
    sub: int
    tid: int
    attributes: list = field(default_factory=list)

    @property
    def code(self):
        """Basic type and sub-type as the RFC writes them together, such as 0x0312."""
        return self.basic << 8 | self.sub

    def encode(self):
        body = b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in self.attributes)
        return header(self.basic, self.sub, len(body), self.tid) + body

    def types(self):
        return [kind for kind, _ in self.attributes]

    def value(self, kind):
        """The value of the only attribute of this type."""
        values = [value for found, value in self.attributes if found == kind]
        if len(values) != 1:
            raise ValueError(f"{len(values)} attributes of type {ATTRIBUTES.get(kind, kind)} in {self}")
        return values[0]

    def number(self, kind):
        """The value of a PID, GID or lifetime."""
        value = self.value(kind)
        if len(value) != 4:
            raise ValueError(f"{ATTRIBUTES[kind]} has {len(value)} octets")
        return int.from_bytes(value, "big")

    def tuples(self):
        return [AddressTuple.decode(value) for kind, value in self.attributes if kind == TUPLE]

    def __str__(self):
        if self.basic == NEGATIVE:
            name = f"{self.code:#06x} {REASONS.get(self.sub, '?')}"
        elif self.basic == NOTIFICATION:
            name = {BFM: "BFM", AST: "AST", ARE: "ARE"}.get(self.sub, "?")
        else:
            kind = {REQUEST: "request", POSITIVE: "reply"}.get(self.basic, f"of basic type {self.basic}")
            name = f"{SUB_TYPES.get(self.sub, hex(self.sub))} {kind}"
        what = ", ".join(f"{ATTRIBUTES.get(kind, hex(kind))} {value.hex()}" for kind, value in self.attributes)
        return f"{name} TID {self.tid}" + (f": {what}" if what else "")


def header(basic, sub, length, tid):
    """The eight octets of §4.2."""
    return struct.pack(">BBHI", basic, sub, length, tid)


def decode(octets):
    """The message that these octets are; ValueError if they are none."""
    basic, sub, length, tid = struct.unpack(">BBHI", octets[:8])
    if length != len(octets) - 8:
        raise ValueError(f"a length of {length} before {len(octets) - 8} octets")
    message, rest = Message(basic, sub, tid), octets[8:]
    while rest:
        if len(rest) < 4:
            raise ValueError(f"{len(rest)} octets behind the last attribute")
        kind, size = struct.unpack(">HH", rest[:4])
        if len(rest) < 4 + size:
            raise ValueError(f"an attribute of {size} octets in {len(rest) - 4}")
        message.attributes.append((kind, rest[4:4 + size]))
        rest = rest[4 + size:]
    return message


def version(major=3, minor=0, reserved=0):
    return (VERSION, struct.pack(">BBH", major, minor, reserved))


def number(kind, value):
    return (kind, value.to_bytes(4, "big"))


def pid(value):
    return number(PID, value)


def gid(value):
    return number(GID, value)


def lifetime(seconds):
    return number(LIFETIME, seconds)


def per_set(direction=INBOUND, parity=0, reserved=0):
    return (PER_SET, struct.pack(">BBH", parity, direction, reserved))


def prr_set(ports=1, protocol=UDP, mode=2, parity=0, inside=0, outside=0):
    return (PRR_SET, struct.pack(">BBH", mode << 6 | parity << 4 | inside << 2 | outside, protocol, ports))


@dataclass(frozen=True)
class AddressTuple:
    """§4.3.8; `network` None is "protocols only"."""

    location: int
    network: object
    port: int = 0
    ports: int = 1
    protocol: int = UDP
    version: int = 1
    prefix: int = 0

    @staticmethod
    def of(location, network, port=0, ports=1, protocol=UDP, prefix=None):
        """A full address: "10.0.40.20" or "10.0.40.0/24"."""
        interface = ipaddress.ip_interface(network)
        own = interface.network.prefixlen if prefix is None else prefix
        kind = 1 if interface.version == 4 else 2
        return AddressTuple(location, interface.ip, port, ports, protocol, kind, own)

    @staticmethod
    def protocols_only(location, kind=1, protocol=UDP, prefix=0):
        return AddressTuple(location, None, 0, 0, protocol, kind, prefix)

    def encode(self):
        first = (0x10 if self.network is None else 0) | self.version
        octets = struct.pack(">BBBB", first, self.prefix, self.protocol, self.location)
        if self.network is not None:
            octets += struct.pack(">HH", self.port, self.ports) + self.network.packed
        return octets

    @staticmethod
    def decode(octets):
        first, prefix, protocol, location = octets[:4]
        kind = first & 0x0F
        if first >> 4 == 1:
            if len(octets) != 4:
                raise ValueError(f"protocols only in {len(octets)} octets")
            return AddressTuple(location, None, 0, 0, protocol, kind, prefix)
        if first >> 4 != 0 or len(octets) != {1: 12, 2: 24}.get(kind):
            raise ValueError(f"no address tuple: {octets.hex()}")
        port, ports = struct.unpack(">HH", octets[4:8])
        return AddressTuple(location, ipaddress.ip_address(octets[8:]), port, ports, protocol, kind, prefix)

    def at(self, location):
        """The same somewhere else."""
        return AddressTuple(location, self.network, self.port, self.ports, self.protocol, self.version, self.prefix)

    @property
    def attribute(self):
        return (TUPLE, self.encode())


@dataclass(frozen=True)
class Capabilities:
    """§4.3.3."""

    kind: int
    flags: int
    reserved: int
    lifetime_max: int

    @staticmethod
    def decode(octets):
        return Capabilities(*struct.unpack(">BBHI", octets))

    firewall = property(lambda self: bool(self.kind & 0x80))
    nat = property(lambda self: bool(self.kind & 0x40))
    disable = property(lambda self: bool(self.kind & 0x10))
    internal_wildcards = property(lambda self: bool(self.flags & 0x80))
    external_wildcards = property(lambda self: bool(self.flags & 0x40))
    port_wildcards = property(lambda self: bool(self.flags & 0x20))
    inside = property(lambda self: self.flags >> 2 & 3)
    outside = property(lambda self: self.flags & 3)
