"""A connection that keeps what was said, for the report of a failure; and an agent on it."""

import socket
import ssl

import proof
import wire
from wire import Message, NOTIFICATION, REQUEST

# Only bounds a failure; no case depends on it.
PATIENCE = 20


class Failed(Exception):
    """What came is not what the RFC says."""


class Peer:
    """Octets and messages on one connection."""

    def __init__(self, stream, name):
        self.stream, self.name = stream, name
        stream.settimeout(PATIENCE)
        self.story, self.buffer = [], b""

    def close(self):
        self.stream.close()

    def write(self, octets):
        self.story.append(("->", octets))
        self.stream.sendall(octets)

    def finish(self):
        """Nothing more is sent. Where there is TLS this happens below it: it has no half of a connection."""
        socket.socket.shutdown(self.stream, socket.SHUT_WR)

    def read(self, count):
        """Exactly so many octets, or None if the other side has closed before the first of them."""
        while len(self.buffer) < count:
            try:
                octets = self.stream.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                octets = b""
            except TimeoutError:
                raise Failed(f"nothing comes on {self.name} for {self.stream.gettimeout()} s") from None
            if not octets:
                if self.buffer:
                    raise Failed(f"{self.name} is closed within a message: {self.buffer.hex(' ')}")
                return None
            self.buffer += octets
        octets, self.buffer = self.buffer[:count], self.buffer[count:]
        return octets

    def receive(self):
        """The next message, or None at the end of the connection."""
        head = self.read(8)
        if head is None:
            self.story.append(("<-", None))
            return None
        length = int.from_bytes(head[2:4], "big")
        octets = head + (self.read(length) if length else b"")
        self.story.append(("<-", octets))
        try:
            return wire.decode(octets)
        except ValueError as error:
            raise Failed(f"no SIMCO message: {error}") from None

    def tell(self):
        """What was said, for people."""
        lines = [f"    on {self.name}:"]
        for way, octets in self.story[-40:]:
            if octets is None:
                lines.append("      <- the end")
                continue
            try:
                what = str(wire.decode(octets))
            except (ValueError, IndexError, wire.struct.error):
                what = "no single message"
            shown = octets.hex(" ") if len(octets) <= 160 else octets[:160].hex(" ") + " ..."
            lines.append(f"      {way} {what}\n         {shown}")
        return "\n".join(lines)


class Agent(Peer):
    """One agent's session: requests with TIDs, replies by TID, notifications on the side."""

    def __init__(self, stream, name, secret=None):
        super().__init__(stream, name)
        self.tid, self.notices, self.early = 0, [], {}
        # What it proves itself by, if the middlebox asks; then it asks the middlebox, too.
        self.secret = secret

    def next_tid(self):
        self.tid += 1
        return self.tid

    def request(self, sub, *attributes):
        return Message(REQUEST, sub, self.next_tid(), list(attributes))

    def send(self, sub, *attributes):
        """Sends a request and gives its TID."""
        message = self.request(sub, *attributes)
        self.write(message.encode())
        return message.tid

    def reply(self, tid):
        """The reply to this request; None if the connection ends before it."""
        while tid not in self.early:
            message = self.receive()
            if message is None:
                return None
            if message.basic == NOTIFICATION:
                self.notices.append(message)
            else:
                self.early[message.tid] = message
        return self.early.pop(tid)

    def ask(self, sub, *attributes):
        """A request and its reply."""
        return self.reply(self.send(sub, *attributes))

    def notice(self):
        """The next notification, heard already or still to come; None at the end of the connection."""
        while not self.notices:
            message = self.receive()
            if message is None:
                return None
            if message.basic == NOTIFICATION:
                self.notices.append(message)
            else:
                self.early[message.tid] = message
        return self.notices.pop(0)

    def open(self):
        """Establishes the session and gives the capabilities."""
        answer = self.ask(wire.SE, wire.version()) if self.secret is None else self.prove()
        expect(answer, 0x0201, "SE is answered")
        return wire.Capabilities.decode(answer.value(wire.CAPABILITIES))

    def prove(self):
        """Both ends prove who they are; the reply to SA."""
        ours = proof.challenge(self.secret)
        answer = expect(self.ask(wire.SE, wire.version(), (wire.CHALLENGE, ours)), 0x0202, "SE with a challenge")
        theirs = answer.value(wire.CHALLENGE)
        wanted = proof.token(self.secret, proof.MIDDLEBOX, ours, theirs)
        same(answer.value(wire.TOKEN), wanted, "the middlebox's token")
        return self.ask(wire.SA, (wire.TOKEN, proof.token(self.secret, proof.AGENT, ours, theirs)))


def tls(files, server=False):
    """One end of mutual TLS 1.2 or later: `files` are CA, certificate with its chain, and key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files["ca"])
    context.load_cert_chain(files["certificate"], files["key"])
    return context


def connect(address, source=None):
    """TCP to ("host", port), or a Unix socket's path."""
    if isinstance(address, str):
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE)
        stream.connect(address)
        return stream
    bind = None if source is None else (source, 0)
    stream = socket.create_connection(tuple(address), PATIENCE, bind)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def expect(message, code, what):
    """That a message has this code, or one of these; the message itself."""
    codes = code if isinstance(code, tuple) else (code,)
    if message is None or message.code not in codes:
        wanted = " or ".join(name(code) for code in codes)
        raise Failed(f"{what}: expected {wanted}, got {message or 'the end of the connection'}")
    if message.basic == wire.NEGATIVE and message.sub != 0x22 and message.attributes:
        raise Failed(f"{what}: a negative reply with attributes (§5.3.18): {message}")
    return message


def name(code):
    return str(Message(code >> 8, code & 0xFF, 0)).removesuffix(" TID 0")


def same(actual, wanted, what):
    if actual != wanted:
        raise Failed(f"{what}: expected {wanted!r}, got {actual!r}")


def holds(true, what):
    if not true:
        raise Failed(what)
