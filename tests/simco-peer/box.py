"""A middlebox of RFC 4540 that opens nothing: what an agent is told by it is decided case by case. Before it answers, it
checks that each request is what §4 and §5 say."""

import os
import socket
import ssl

import proof
import wire
from peer import PATIENCE, tls
from wire import EXTERNAL, INSIDE, INTERNAL, NEGATIVE, NOTIFICATION, OUTSIDE, POSITIVE, REQUEST, AddressTuple, Message
from wire import gid, lifetime, pid, version

# A packet filter with every wildcard, IPv4 and IPv6, an hour.
EVERYTHING = bytes([0x80, 0xEF, 0, 0, 0, 0, 0x0E, 0x10])
# The same without wildcards of addresses.
NO_ADDRESS_WILDCARDS = bytes([0x80, 0x2F, 0, 0, 0, 0, 0x0E, 0x10])

# What each request has, in the order of §5's figures, and what may follow.
FORMATS = {
    wire.SE: ([wire.VERSION], [wire.CHALLENGE]), wire.SA: ([], [wire.TOKEN]), wire.ST: ([], []),
    wire.PRR: ([wire.PRR_SET, wire.LIFETIME], [wire.GID]),
    wire.PER: ([wire.PER_SET, wire.TUPLE, wire.TUPLE, wire.LIFETIME], [wire.GID]),
    wire.PEA: ([wire.PER_SET, wire.TUPLE, wire.TUPLE, wire.LIFETIME, wire.PID], []),
    wire.PDR: ([wire.TUPLE, wire.TUPLE, wire.LIFETIME], []),
    wire.PLC: ([wire.PID, wire.LIFETIME], []), wire.PRS: ([wire.PID], []), wire.PRL: ([], []),
}
# Postern's own request for counters (docs/simco.md); an RFC 4540 middlebox does not know it.
PRC = 0x71


class Link:
    """One connection of the agent."""

    def __init__(self, stream, box):
        self.stream, self.box = stream, box
        self.buffer, self.tids, self.state = b"", set(), "CLOSED"
        self.over = False
        # The challenges of both, once they are known.
        self.theirs = self.ours = b""

    def write(self, octets):
        self.box.story.append(("MB ->", octets))
        try:
            self.stream.setblocking(True)
            self.stream.sendall(octets)
            self.stream.setblocking(False)
        except OSError:
            self.over = True

    def close(self):
        self.over = True
        self.stream.close()

    def read(self):
        # TLS may have more than the socket shows.
        ended = False
        while not ended:
            try:
                octets = self.stream.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:
                octets = b""
            self.buffer += octets
            ended = not octets
        while not self.over and len(self.buffer) >= 8:
            size = 8 + int.from_bytes(self.buffer[2:4], "big")
            if len(self.buffer) < size:
                break
            octets, self.buffer = self.buffer[:size], self.buffer[size:]
            self.box.story.append(("MB <-", octets))
            self.box.request(self, wire.decode(octets))
        if ended:
            self.close()


def reply(message, sub, *attributes):
    return Message(POSITIVE, sub, message.tid, list(attributes)).encode()


def refusal(message, code):
    more = [version()] if code == 0x0322 else []
    return Message(NEGATIVE, code & 0xFF, message.tid, more).encode()


class Box:
    """The middlebox: its rules, its sessions, and what is planned for the next requests."""

    def __init__(self, address, files=None, secret=None):
        self.address = tuple(address)
        self.tls = tls(files, server=True) if files else None
        self.secret = secret and secret.encode()
        self.listener = None
        self.listen()
        self.links, self.notices = [], 0
        self.next_pid = 100
        self.reset()

    def listen(self):
        self.listener = socket.create_server(self.address, reuse_port=False)
        self.listener.setblocking(False)

    def deaf(self):
        """Nobody can connect until `listen`."""
        self.listener.close()
        self.listener = None

    def reset(self):
        """As it is when a case begins."""
        self.story, self.wrong, self.asked, self.rules, self.plans = [], [], [], {}, []
        self.capabilities, self.granted_max = EVERYTHING, 3600

    @property
    def link(self):
        """The session that is open, if there is one."""
        return next((link for link in self.links if not link.over and link.state == "OPEN"), None)

    def plan(self, sub, what, times=1):
        """For the next requests of this sub-type: a code to refuse them with, or a function of link and message."""
        self.plans += [(sub, what)] * times

    def accept(self):
        stream, _ = self.listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            try:
                stream.settimeout(PATIENCE)
                stream = self.tls.wrap_socket(stream, server_side=True)
            except OSError:
                return stream.close()
        stream.setblocking(False)
        self.links.append(Link(stream, self))

    def request(self, link, message):
        self.check(link, message)
        self.asked.append(message)
        planned = next((plan for plan in self.plans if plan[0] == message.sub), None)
        if planned:
            self.plans.remove(planned)
            what = planned[1]
            return link.write(refusal(message, what)) if isinstance(what, int) else what(link, message)
        self.answer(link, message)

    def answer(self, link, message):
        """What a middlebox says that can do everything."""
        octets = self.session(link, message) or self.rule(message)
        link.write(octets)
        if message.sub == wire.ST:
            link.close()

    def session(self, link, message):
        if message.sub == wire.SE and self.secret:
            return self.challenge(link, message)
        if message.sub == wire.SA and self.secret and message.value(wire.TOKEN) != self.token(link, proof.AGENT):
            self.wrong.append(f"not the agent's token: {message}")
            return refusal(message, 0x0323)
        if message.sub in (wire.SE, wire.SA):
            link.state = "OPEN"
            return reply(message, wire.SE, (wire.CAPABILITIES, self.capabilities))
        if message.sub == wire.ST:
            return reply(message, wire.ST)
        return None

    def challenge(self, link, message):
        """The SA reply to SE: we prove who we are, and the agent is to do the same."""
        link.state, link.theirs, link.ours = "NOAUTH", message.value(wire.CHALLENGE), os.urandom(24)
        token = self.token(link, proof.MIDDLEBOX)
        return reply(message, wire.SA, (wire.CHALLENGE, link.ours), (wire.TOKEN, token))

    def token(self, link, role):
        return proof.token(self.secret, role, link.theirs, link.ours)

    def rule(self, message):
        """The reply to a request about rules, and what it changes."""
        if message.sub == wire.PRL:
            return reply(message, wire.PRL, *[pid(rule) for rule in self.rules])
        if message.sub not in FORMATS or message.sub == wire.PDR:
            return refusal(message, 0x0311)
        if message.sub in (wire.PEA, wire.PLC, wire.PRS) and message.number(wire.PID) not in self.rules:
            return refusal(message, 0x0343)
        if message.sub == wire.PRS:
            return self.status(message)
        granted = min(message.number(wire.LIFETIME), self.granted_max)
        if message.sub == wire.PLC:
            if granted == 0:
                del self.rules[message.number(wire.PID)]
                return reply(message, wire.PRD)
            self.rules[message.number(wire.PID)]["lifetime"] = granted
            return reply(message, wire.PLC, lifetime(granted))
        return self.enable(message, granted)

    def enable(self, message, granted):
        """PRR, PER or PEA."""
        if message.sub == wire.PEA:
            rule = message.number(wire.PID)
            group = self.rules[rule]["group"]
        else:
            rule, self.next_pid = self.next_pid, self.next_pid + 1
            group = message.number(wire.GID) if wire.GID in message.types() else 1000 + rule
        self.rules[rule] = {"group": group, "lifetime": granted, "request": message}
        first = [pid(rule), gid(group), lifetime(granted)]
        if message.sub == wire.PRR:
            octets = message.value(wire.PRR_SET)
            outside = AddressTuple.protocols_only(OUTSIDE, (octets[0] & 3) or 1, octets[1])
            return reply(message, wire.PRR, *first, outside.attribute)
        internal, external = message.tuples()
        return reply(message, wire.PER, *first, internal.at(OUTSIDE).attribute, external.at(INSIDE).attribute)

    def status(self, message):
        number = message.number(wire.PID)
        rule = self.rules[number]
        request = rule["request"]
        first, last = [pid(number), gid(rule["group"])], [lifetime(rule["lifetime"]), (wire.OWNER, b"agent")]
        if request.sub == wire.PRR:
            octets = request.value(wire.PRR_SET)
            outside = AddressTuple.protocols_only(OUTSIDE, (octets[0] & 3) or 1, octets[1])
            return reply(message, wire.PRS, *first, last[0], outside.attribute, last[1])
        internal, external = request.tuples()
        tuples = [internal, external.at(INSIDE), internal.at(OUTSIDE), external]
        parameters = (wire.PER_SET, request.value(wire.PER_SET))
        return reply(message, wire.PES, *first, parameters, *[one.attribute for one in tuples], *last)

    def notify(self, sub, *attributes, link=None):
        """Says something unasked on the session."""
        self.notices += 1
        (link or self.link).write(Message(NOTIFICATION, sub, self.notices, list(attributes)).encode())

    def are(self, rule, seconds):
        if seconds == 0:
            self.rules.pop(rule, None)
        self.notify(wire.ARE, pid(rule), lifetime(seconds))

    def check(self, link, message):
        """What is not as §4, §5 and §7 want it goes to `wrong`."""
        def wrong(what, section):
            self.wrong.append(f"{what} (RFC 4540 {section}): {message}")

        if message.basic != REQUEST:
            wrong("an agent sends requests only", "§4.1")
        if message.tid in link.tids:
            wrong("a TID twice in a session", "§4.2.5")
        link.tids.add(message.tid)
        if message.sub == PRC:
            return
        if message.sub not in FORMATS:
            return wrong("no request", "§4.2.2")
        drawn, optional = FORMATS[message.sub]
        if message.types() not in (drawn, drawn + optional):
            wrong("not the attributes of this request", "§5")
        if link.state == "CLOSED" and message.sub != wire.SE:
            wrong("nothing but SE before the session", "§7.1")
        if message.sub == wire.SE and message.value(wire.VERSION) != version()[1]:
            wrong("not version 3.0", "§4.3.1")
        if message.sub == wire.PRR and message.value(wire.PRR_SET)[2:] == b"\0\0":
            wrong("no ports", "§4.3.9")
        if message.sub in (wire.PER, wire.PEA, wire.PDR):
            self.check_tuples(message, wrong)

    @staticmethod
    def check_tuples(message, wrong):
        internal, external = message.tuples()
        if (internal.location, external.location) != (INTERNAL, EXTERNAL):
            wrong("first A0, then A3", "§8.3.1")
        if internal.protocol != external.protocol or internal.ports != external.ports or not internal.ports:
            wrong("one protocol, one range above zero", "§8.3.1")
        if message.sub == wire.PDR:
            return
        parity, direction, *rest = message.value(wire.PER_SET)
        if parity not in (0, 3) or direction not in (1, 2, 3) or rest != [0, 0]:
            wrong("parity, direction, reserved", "§4.3.10")
        wild = any(one.port == 0 or one.prefix < {1: 32, 2: 128}[one.version] for one in (internal, external))
        if direction == 3 and wild:
            wrong("bi-directional with a wildcard", "§8.3.1")
