"""The real agent between a middlebox and two phones of ours, one event after the other in one thread."""

import selectors
import time

import wire
from box import Box
from peer import PATIENCE, Failed, holds, same
from phone import Phone, sdp
from wire import SUB_TYPES

MEDIA_A, MEDIA_B = ("198.51.100.20", 30000), ("10.0.40.20", 20000)


class Stage:
    def __init__(self, around):
        self.around = around
        self.box = Box(around["middlebox"], around.get("tls"), around.get("secret"))
        self.a = Phone("a", around["phone_a"], around["border_a"])
        self.b = Phone("b", around["phone_b"], around["border_b"])

    def turn(self, deadline):
        """Takes what has arrived, or waits for it."""
        with selectors.DefaultSelector() as selector:
            self.box.links = [link for link in self.box.links if not link.over]
            for phone in (self.a, self.b):
                selector.register(phone.socket, selectors.EVENT_READ, phone.read)
            if self.box.listener:
                selector.register(self.box.listener, selectors.EVENT_READ, self.box.accept)
            for link in self.box.links:
                selector.register(link.stream, selectors.EVENT_READ, link.read)
            for key, _ in selector.select(max(0, deadline - time.monotonic())):
                key.data()

    def until(self, what, true, patience=PATIENCE):
        """Waits for an event; the time only bounds a failure. What `true` gave."""
        deadline = time.monotonic() + patience
        while not (value := true()):
            if time.monotonic() > deadline:
                raise Failed(f"waited in vain: {what}")
            self.turn(deadline)
        return value

    def up(self):
        """The agent has a session. Its back-off may take a while."""
        self.until("the agent has a session", lambda: self.box.link, 60)

    def asked(self, sub, patience=PATIENCE):
        """The next request of this sub-type; those of others before it stay in the list."""
        def found():
            return next((message for message in self.box.asked if message.sub == sub), None)

        message = self.until(f"{SUB_TYPES.get(sub, hex(sub))} request", found, patience)
        self.box.asked.remove(message)
        return message

    def hears(self, phone, kind, patience=PATIENCE):
        """The next SIP message at a phone is of this kind; 100s aside."""
        def found():
            phone.heard = [message for message in phone.heard if not message.kind.startswith("100 ")]
            return phone.heard

        self.until(f"{phone.name} hears {kind}", found, patience)
        message = phone.heard.pop(0)
        holds(message.kind == kind, f"{phone.name} hears {message.kind} where {kind} should be: {message.start}")
        return message

    def silent(self, phone):
        """Nothing has come to this phone: what comes to the other one now was sent after it would have."""
        self.sentinel()
        phone.read()
        heard = [message.kind for message in phone.heard if not message.kind.startswith("100 ")]
        same(heard, [], f"what {phone.name} hears")

    def sentinel(self):
        """A question outside any call, on each side: the agent has done what came before it."""
        for phone in (self.a, self.b):
            target = f"sip:{phone.border[0]}:{phone.border[1]}"
            call = type("Ping", (), {"call_id": f"ping{time.monotonic_ns()}", "local": "<sip:p@example.org>;tag=p",
                                     "remote": "<sip:q@example.org>", "target": target, "number": 1})()
            phone.request("OPTIONS", call)

            def answered(phone=phone):
                return [one for one in phone.heard if one.kind == "200 OPTIONS"]

            self.until("OPTIONS is answered", answered)
            phone.heard = [one for one in phone.heard if one.kind != "200 OPTIONS"]

    def dial(self):
        """A calls B."""
        return self.a.invite(sdp(*MEDIA_A))

    def answer(self, tag="b1"):
        """B rings and answers; A has heard nothing of the answer yet."""
        invite = self.hears(self.b, "INVITE")
        self.b.respond(invite, 180, tag=tag)
        self.b.respond(invite, 200, sdp(*MEDIA_B), tag)
        return self.b.called(invite, tag)

    def connect(self):
        """A call from A to B that is up: both ends of it."""
        ours = self.dial()
        theirs = self.answer()
        self.hears(self.a, "180 INVITE")
        self.a.accept(ours, self.hears(self.a, "200 INVITE"))
        self.hears(self.b, "ACK")
        return ours, theirs

    def hang_up(self, call):
        """A hangs up; all rules are gone when A's BYE is answered."""
        self.a.bye(call)
        self.b.respond(self.hears(self.b, "BYE"), 200)
        self.hears(self.a, "200 BYE")
        same(sorted(self.box.rules), [], "rules when BYE is answered")

    def whole_call(self):
        ours, _ = self.connect()
        self.hang_up(ours)

    def refused(self, call, status, warning, retry=None):
        """A is told this and no more, and why."""
        kind = f"{status} INVITE"
        response = self.hears(self.a, kind)
        if response.kind == kind:
            self.a.acknowledge(call, response)
        holds(f'"{warning}' in response.get("Warning"), f"Warning {response.get('Warning')!r}, expected {warning!r}")
        if retry is not None:
            same(bool(response.get("Retry-After")), retry, "Retry-After")
        return response

    def told_off(self, status, text):
        """B's call ends with BYE and this Reason."""
        self.hears(self.b, "ACK")
        bye = self.hears(self.b, "BYE")
        self.b.respond(bye, 200)
        same(bye.get("Reason"), f'SIP;cause={status};text="{text}"', "Reason")

    def clear(self):
        """Between two cases: no call, no rule, a session."""
        self.box.plans = []
        if self.box.listener is None:
            self.box.listen()
        self.until("every rule is closed", lambda: not self.box.rules, 60)
        self.up()
        self.sentinel()
        for phone in (self.a, self.b):
            phone.heard, phone.seen = [], set()
        wrong = self.box.wrong
        self.box.reset()
        if wrong:
            raise Failed("the agent sent: " + "; ".join(wrong[:5]))

    def tell(self):
        """What the middlebox has heard and said."""
        lines = []
        for way, octets in self.box.story[-40:]:
            try:
                what = str(wire.decode(octets))
            except (ValueError, IndexError, wire.struct.error):
                what = "no single message"
            lines.append(f"      {way} {what}\n            {octets[:160].hex(' ')}")
        left = {phone.name: [one.start for one in phone.heard] for phone in (self.a, self.b)}
        return "\n".join(lines + [f"      not yet heard: {left}"])


def pid_of(message):
    """The PID that a request names."""
    return message.number(wire.PID)


