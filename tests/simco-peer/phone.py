"""A telephone of few words: SIP over UDP with SDP, as much as a call through a border needs (RFC 3261, RFC 4566)."""

import itertools
import socket

NUMBERS = itertools.count(1)


class Sip:
    """A SIP message: start line, header fields in order, body."""

    def __init__(self, octets):
        head, _, self.body = octets.decode().partition("\r\n\r\n")
        lines = head.split("\r\n")
        self.start = lines[0]
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]

    def all(self, name):
        return [value for found, value in self.fields if found.lower() == name.lower()]

    def get(self, name):
        """The first header field of this name, or an empty text."""
        return next(iter(self.all(name)), "")

    @property
    def kind(self):
        """ "INVITE" for a request, "200 INVITE" for a response."""
        if self.start.startswith("SIP/2.0 "):
            return f"{self.start.split()[1]} {self.get('CSeq').split()[1]}"
        return self.start.split()[0]


def sdp(address, port, version=1):
    return (f"v=0\r\no=- 1 {version} IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\n")


class Call:
    """What a phone knows of its call."""

    def __init__(self, call_id, local, remote, target, invite=None):
        self.call_id, self.local, self.remote, self.target = call_id, local, remote, target
        self.invite, self.number = invite, 1


class Phone:
    """One phone at an address; `border` is where it sends."""

    def __init__(self, name, address, border):
        self.name, self.address, self.border = name, tuple(address), tuple(border)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.setblocking(False)
        self.heard, self.seen = [], set()

    def read(self):
        """Takes what has come; a repetition is no news."""
        try:
            while True:
                octets = self.socket.recv(65536)
                if octets not in self.seen:
                    self.seen.add(octets)
                    self.heard.append(Sip(octets))
        except BlockingIOError:
            return

    def put(self, lines, body=""):
        kind = ["Content-Type: application/sdp"] if body else []
        text = "\r\n".join(lines + kind + [f"Content-Length: {len(body)}", "", body])
        self.socket.sendto(text.encode(), self.border)

    def contact(self):
        return f"<sip:{self.name}@{self.address[0]}:{self.address[1]}>"

    def request(self, method, call, body="", number=None, more=()):
        self.put([
            f"{method} {call.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch=z9hG4bK{self.name}{next(NUMBERS)}",
            f"From: {call.local}", f"To: {call.remote}", f"Call-ID: {call.call_id}",
            f"CSeq: {number or call.number} {method}", "Max-Forwards: 70", f"Contact: {self.contact()}", *more,
        ], body)

    def invite(self, body, user="b"):
        number = next(NUMBERS)
        target = f"sip:{user}@{self.border[0]}:{self.border[1]}"
        local, remote = f"<sip:{self.name}@example.org>;tag={self.name}{number}", f"<sip:{user}@example.org>"
        call = Call(f"{self.name}-{number}@example.org", local, remote, target)
        self.request("INVITE", call, body)
        return call

    def accept(self, call, response):
        """Takes over what a 2xx to INVITE says, and acknowledges it."""
        call.remote = response.get("To")
        call.target = response.get("Contact").strip("<>").split(">")[0]
        self.request("ACK", call)

    def acknowledge(self, call, response):
        """ACK of a failure: same branch as the INVITE, which we do not keep; the border is glad of any."""
        call.remote = response.get("To")
        via = response.get("Via")
        self.put([f"ACK {call.target} SIP/2.0", f"Via: {via}", f"From: {call.local}", f"To: {call.remote}",
                  f"Call-ID: {call.call_id}", "CSeq: 1 ACK", "Max-Forwards: 70"])

    def respond(self, request, status, body="", tag=None):
        to = request.get("To")
        if tag and ";tag=" not in to:
            to += f";tag={tag}"
        same = [f"{name}: {value}" for name, value in request.fields if name.lower() in ("via", "from", "call-id", "cseq", "record-route")]
        self.put([f"SIP/2.0 {status} Whatever", *same, f"To: {to}", f"Contact: {self.contact()}"], body)

    def called(self, invite, tag):
        """The call of an INVITE that was answered with this tag."""
        target = invite.get("Contact").strip("<>").split(">")[0]
        return Call(invite.get("Call-ID"), f"{invite.get('To')};tag={tag}", invite.get("From"), target, invite)

    def bye(self, call):
        call.number += 1
        self.request("BYE", call)
