"""Replies that are late, in pieces, out of order, or not what was asked for: RFC 4540 §4.2.5, §5.3.10, §6, §8."""

import wire
from box import reply
from case import case
from peer import holds, same
from wire import EXTERNAL, INTERNAL, Message, NEGATIVE, NOTIFICATION, POSITIVE, gid, header, lifetime, pid

LOST = "firewall unreachable: the session ended before the reply, stream 1"


def keep(waiting):
    return lambda link, message: waiting.append((link, message))


@case("§8.3, RFC 5189 §2.3.9", "Nothing is let through before the positive reply has come: the INVITE is held until then")
def held(stage):
    waiting = []
    stage.box.plan(wire.PER, keep(waiting))
    ours = stage.dial()
    stage.until("PER", lambda: waiting)
    stage.silent(stage.b)
    stage.box.answer(*waiting[0])
    stage.answer()
    stage.hears(stage.a, "180 INVITE")
    stage.a.accept(ours, stage.hears(stage.a, "200 INVITE"))
    stage.hears(stage.b, "ACK")
    stage.hang_up(ours)


@case("§8.3", "No reply within the hold: the call is refused as unreachable; a rule that comes of it later is ended at once")
def too_late(stage):
    waiting = []
    stage.box.plan(wire.PER, keep(waiting))
    ours = stage.dial()
    stage.refused(ours, 504, "firewall unreachable: no reply in time, stream 1", retry=False)
    stage.silent(stage.b)
    stage.box.answer(*waiting[0])
    stage.asked(wire.PLC)
    stage.until("the late rule is closed", lambda: not stage.box.rules)


@case("§3, §4.2.5", "Replies come in any order and in any pieces; the TID ties them to their requests")
def shuffled(stage):
    waiting = []
    stage.box.plan(wire.PER, keep(waiting), 3)
    ours = [stage.dial() for _ in range(3)]
    stage.until("three PERs", lambda: len(waiting) == 3)
    octets = b""
    for link, message in reversed(waiting):
        octets += stage.box.rule(message)
    link = waiting[0][0]
    for octet in octets:
        link.write(bytes([octet]))
    theirs = [stage.hears(stage.b, "INVITE") for _ in ours]
    for invite in theirs:
        stage.b.respond(invite, 486, tag="b")
    for _ in ours:
        stage.hears(stage.b, "ACK")
    for _ in ours:
        stage.a.acknowledge(ours[0], stage.hears(stage.a, "486 INVITE"))


def misbehaves(stage, answer, what):
    """A reply after which nothing on the session can be believed: the call fails and the agent begins anew."""
    stage.up()
    stage.box.plan(wire.PER, lambda link, message: link.write(answer(message)))
    link = stage.box.link
    stage.refused(stage.dial(), 504, LOST, retry=False)
    stage.until(f"the agent closes after {what}", lambda: link.over)
    stage.silent(stage.b)


@case("§4.2.5, §5.3.10, §6", "A reply to nobody's TID, of another kind, or that cannot be read ends the session; the agent begins anew",
      "§6 is about what a middlebox receives; for an agent nothing is said")
def wrong_replies(stage):
    full = stage.box
    for what, answer in (
        ("another TID", lambda message: full.rule(Message(1, wire.PER, message.tid + 1000, message.attributes))),
        ("a PLC reply", lambda message: reply(message, wire.PLC, lifetime(60))),
        ("an SE reply", lambda message: reply(message, wire.SE, (wire.CAPABILITIES, full.capabilities))),
        ("no attributes", lambda message: reply(message, wire.PER)),
        ("an attribute too many", lambda message: reply(message, wire.PER, pid(1), gid(1), lifetime(60), *both(message), pid(2))),
        ("a tuple of version 3", lambda message: reply(message, wire.PER, pid(1), gid(1), lifetime(60),
                                                       (wire.TUPLE, b"\x03\x20\x11\x02\0\0\0\1\x0a\0\0\1"))),
        ("a request", lambda message: Message(1, wire.PRL, message.tid).encode()),
        ("basic type 9", lambda message: header(9, wire.PER, 0, message.tid)),
        ("notification 4", lambda message: header(NOTIFICATION, 4, 0, 1)),
        ("ARE without attributes", lambda message: header(NOTIFICATION, wire.ARE, 0, 1)),
        ("a cut attribute", lambda message: header(POSITIVE, wire.PER, 3, message.tid) + b"\0\5\0"),
    ):
        misbehaves(stage, answer, what)
    stage.box.rules.clear()
    stage.up()
    stage.whole_call()


@case("§5.3.18, §5.2.6", "A negative reply has no attributes, but 0x0322 has the version: otherwise the session ends",
      "as for every message that cannot be read")
def refusal_with_attributes(stage):
    misbehaves(stage, lambda message: Message(NEGATIVE, 0x41, message.tid, [pid(1)]).encode(), "0x0341 with a PID")
    misbehaves(stage, lambda message: Message(NEGATIVE, 0x22, message.tid).encode(), "0x0322 without a version")


def both(message):
    internal, external = message.tuples()
    return [internal.at(wire.OUTSIDE).attribute, external.at(wire.INSIDE).attribute]


@case("§5.3.10, §8.3.3", "A PER reply without A1, as from a NAT, is understood", "§5.3.10 has A1 always, §8.3.3 with twice NAT only")
def without_inside(stage):
    def answer(link, message):
        whole = wire.decode(stage.box.rule(message))
        whole.attributes.pop()
        link.write(whole.encode())

    stage.box.plan(wire.PER, answer, 2)
    stage.whole_call()


@case("§8.3.2", "A PER reply that reports A0 and A3 with their own locations is understood",
      "'is reported as' may mean that the location octet stays")
def locations_kept(stage):
    def answer(link, message):
        whole = wire.decode(stage.box.rule(message))
        outside, inside = whole.tuples()
        whole.attributes[-2:] = [outside.at(INTERNAL).attribute, inside.at(EXTERNAL).attribute]
        link.write(whole.encode())

    stage.box.plan(wire.PER, answer, 2)
    stage.whole_call()


@case("§5", "Replies with attributes in another order are understood", "§5 draws an order and does not require one")
def order(stage):
    def answer(link, message):
        whole = wire.decode(stage.box.rule(message))
        whole.attributes.reverse()
        link.write(whole.encode())

    stage.box.plan(wire.PER, answer, 2)
    stage.whole_call()


@case("§8.3.1, §8.5", "A lower lifetime than asked for is what counts: the rule is extended by PLC when half of it is gone")
def lower_lifetime(stage):
    stage.box.granted_max = 4
    ours, _ = stage.connect()
    rules = set(stage.box.rules)
    extended = set()
    while extended != rules:
        plc = stage.asked(wire.PLC)
        if plc.number(wire.LIFETIME):
            extended.add(plc.number(wire.PID))
        rules = set(stage.box.rules)
    holds(rules, "rules of the call")
    stage.hang_up(ours)


def narrowed(stage):
    """The early rule has given way to the one for the answer: nothing more is asked for by itself."""
    stage.until("two rules are left", lambda: len(stage.box.rules) == 2)


@case("§8.5", "An extension that is refused with 0x0343 has the rule made again; the call goes on")
def extension_of_nothing(stage):
    stage.box.granted_max = 4
    ours, _ = stage.connect()
    narrowed(stage)
    stage.box.granted_max = 3600
    before = dict(stage.box.rules)
    stage.box.rules.clear()
    stage.until("all rules are made again", lambda: len(stage.box.rules) == len(before))
    stage.silent(stage.b)
    stage.hang_up(ours)


@case("§8.5", "PLC zero that is refused is tried again; PRD ends the rule", "a middlebox that could not (0x034A) may, a second later")
def close_again(stage):
    ours, _ = stage.connect()
    narrowed(stage)
    stage.box.plan(wire.PLC, 0x034A)
    stage.a.bye(ours)
    stage.b.respond(stage.hears(stage.b, "BYE"), 200)
    stage.hears(stage.a, "200 BYE")
    stage.until("every rule is closed", lambda: not stage.box.rules)
    same(stage.box.plans, [], "plans that nothing has come of")
