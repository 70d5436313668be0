"""Header, payload and format checks: RFC 4540 §3, §4.2, §4.3, §5 and §6."""

import wire
from case import case, enabled, ends, goes_on, reserved
from peer import expect, holds, same
from wire import Message, REQUEST, header, lifetime, pid, version

SE_OCTETS = Message(REQUEST, wire.SE, 1, [version()]).encode()
# What §4.2.2 lets a request be.
REQUESTS = (wire.SE, wire.SA, wire.ST, wire.PRR, wire.PER, wire.PEA, wire.PDR, wire.PLC, wire.PRS, wire.PRL)
# Postern's own request for counters lies far from those of the RFC (docs/simco.md).
PRIVATE = (0x71,)


@case("§6 step 2", "A message that arrives octet by octet is waited for until it is whole")
def one_octet_at_a_time(world):
    agent = world.agent()
    for octet in SE_OCTETS:
        agent.write(bytes([octet]))
    expect(agent.receive(), 0x0201, "SE in sixteen pieces")
    for octet in Message(REQUEST, wire.PER, 2, world.per()).encode():
        agent.write(bytes([octet]))
    expect(agent.receive(), 0x0212, "PER in single octets")


@case("§3, §6 step 2", "Several messages in one segment are each answered, whatever the segments' borders are")
def many_at_once(world):
    agent = world.agent()
    messages = [Message(REQUEST, wire.PRL, tid) for tid in range(2, 42)]
    octets = SE_OCTETS + b"".join(message.encode() for message in messages)
    agent.write(octets[:100])
    agent.write(octets[100:])
    expect(agent.receive(), 0x0201, "SE")
    replies = [expect(agent.receive(), 0x0222, "PRL").tid for _ in messages]
    same(sorted(replies), list(range(2, 42)), "TIDs of the replies")


@case("§4.2, §4.2.5", "A reply has the TID of its request, and its length does not count the header")
def reply_header(world):
    agent = world.agent()
    for tid, message in ((0xFFFFFFFF, SE_OCTETS), (0, b"\1\x22\0\0\0\0\0\0"), (0x80000001, b"\1\x22\0\0\0\0\0\0")):
        agent.write(message[:4] + tid.to_bytes(4, "big") + message[8:])
        same(agent.receive().tid, tid, "TID of the reply")


@case("§4.2.5", "A TID that is still open cannot be used again: BFM and AST, and the connection is closed",
      "§6 step 1 does not say which header checks there are; the request in work is answered first (§7.5)")
def tid_of_an_open_request(world):
    agent = world.session()
    octets = Message(REQUEST, wire.PER, 7, world.per()).encode()
    agent.write(octets + octets)
    ends(agent, "two requests with one TID", 0x0212, 0x0401, 0x0402)


@case("§4.2.5", "A TID whose request has been answered may come again: nobody remembers four billion",
      "the agent must not do so, but the middlebox is not told to find out")
def tid_used_again(world):
    agent = world.session()
    for _ in range(2):
        agent.write(Message(REQUEST, wire.PRL, 7).encode())
        expect(agent.receive(), 0x0222, "PRL")


@case("§4.1, §6 step 3", "Without a session any basic type but 0x01 gets 0x0310, and the connection is closed")
def basic_type_without_session(world):
    for basic in (0, 2, 3, 4, 5, 0x80, 0xFF):
        agent = world.agent()
        agent.write(bytes([basic]) + SE_OCTETS[1:])
        ends(agent, f"basic type {basic}", 0x0310)


@case("§6 step 3", "In a session any basic type but 0x01 gets 0x0310, and the session goes on")
def basic_type_in_session(world):
    agent = world.session()
    for basic in (0, 2, 3, 4, 5, 0x80, 0xFF):
        agent.write(header(basic, wire.PRL, 0, agent.next_tid()))
        expect(agent.reply(agent.tid), 0x0310, f"basic type {basic}")
    goes_on(agent, "wrong basic types")


@case("§6 step 4", "Without a session every sub-type but SE gets 0x0311, and the connection is closed",
      "SA and ST in CLOSED: §6 step 4, which comes first, and not the 0x0320 of §7.3 and §7.4")
def sub_type_without_session(world):
    for sub in range(256):
        if sub == wire.SE:
            continue
        agent = world.agent()
        agent.write(header(REQUEST, sub, 0, 9))
        ends(agent, f"sub-type {sub:#04x}", 0x0311)
        agent.close()
        world.open_agents.remove(agent)


@case("§4.2.2, §6 step 4", "In a session a sub-type that no request has gets 0x0311, and the session goes on",
      "step 4 excludes 0x15, which is PLC, and ST; meant are PRD 0x16 and the reply-only PES 0x23 and PDS 0x24")
def sub_type_in_session(world):
    agent = world.session()
    for sub in range(256):
        if sub not in REQUESTS + PRIVATE:
            expect(agent.ask(sub), 0x0311, f"sub-type {sub:#04x}")
    goes_on(agent, "unknown sub-types")


@case("§6 steps 3 to 5", "The basic type is looked at before the sub-type, and that before the attributes")
def order_of_checks(world):
    agent = world.session()
    agent.write(header(5, 0xEE, 3, 101) + b"abc")
    expect(agent.reply(101), 0x0310, "everything wrong")
    agent.write(header(1, 0xEE, 3, 102) + b"abc")
    expect(agent.reply(102), 0x0311, "sub-type and attributes wrong")
    agent.write(header(1, wire.PRL, 3, 103) + b"abc")
    expect(agent.reply(103), 0x0312, "attributes wrong")


def formats(world):
    """Each request with its attributes as drawn in §5, and which of them are optional."""
    yield wire.PRR, [wire.prr_set(), lifetime(60)], [wire.gid(1)]
    yield wire.PER, world.per(), [wire.gid(1)]
    yield wire.PEA, world.per(more=[pid(1)]), []
    yield wire.PDR, [world.internal().attribute, world.external(ports=1).attribute, lifetime(60)], []
    yield wire.PLC, [pid(1), lifetime(60)], []
    yield wire.PRS, [pid(1)], []
    yield wire.PRL, [], []


@case("§5.3.2 to §5.3.8, §6 step 5", "An attribute too few, too many, twice or foreign gets 0x0312; the session goes on")
def number_of_attributes(world):
    agent = world.session()
    for sub, drawn, optional in formats(world):
        what = wire.SUB_TYPES[sub]
        for left in range(len(drawn)):
            expect(agent.ask(sub, *drawn[:left], *drawn[left + 1:]), 0x0312, f"{what} without attribute {left + 1}")
        for one in drawn + optional:
            twice = drawn + optional + [one]
            expect(agent.ask(sub, *twice), 0x0312, f"{what} with a second {wire.ATTRIBUTES[one[0]]}")
        foreign = [version(), (wire.TOKEN, b"x"), (wire.OWNER, b"me"), (0x0000, b""), (0x000C, b"1234"), (0xFFFF, b"")]
        for one in foreign + ([] if optional or sub == wire.PEA else [wire.gid(1)]):
            expect(agent.ask(sub, *drawn, one), 0x0312, f"{what} with {wire.ATTRIBUTES.get(one[0], hex(one[0]))}")
    goes_on(agent, "badly formed requests")


@case("§4.3, §6 step 5", "A value of the wrong length, or an attribute that reaches beyond the message, gets 0x0312")
def length_of_attributes(world):
    agent = world.session()
    for sub, drawn, _ in formats(world):
        for place, (kind, value) in enumerate(drawn):
            for wrong in (b"", value[:-1], value + b"\0", value + value):
                changed = drawn[:place] + [(kind, wrong)] + drawn[place + 1:]
                what = f"{wire.SUB_TYPES[sub]}, {wire.ATTRIBUTES[kind]} of {len(wrong)} octets"
                expect(agent.ask(sub, *changed), 0x0312, what)
    for tail in (b"\0", b"\0\5", b"\0\5\0", b"\0\5\0\4", b"\0\5\0\4\0\0\0", b"\0\5\xff\xff\0\0\0\1"):
        tid = agent.next_tid()
        agent.write(header(REQUEST, wire.PRS, len(tail), tid) + tail)
        expect(agent.reply(tid), 0x0312, f"PRS with the payload {tail.hex(' ')}")
    goes_on(agent, "wrong lengths")


@case("§6 step 5", "A badly formed SE without a session gets 0x0312, and the connection is closed")
def badly_formed_se(world):
    for attributes in ([], [version(), version()], [(wire.VERSION, b"\3\0\0")], [version(), pid(1)],
                       [(wire.CHALLENGE, b"x")], [version(), (wire.CHALLENGE, b"x"), (wire.CHALLENGE, b"y")]):
        agent = world.agent()
        agent.write(Message(REQUEST, wire.SE, 3, attributes).encode())
        ends(agent, f"SE with {attributes}", 0x0312)


@case("§5", "Attributes in another order than drawn are accepted",
      "§5 draws an order and does not require one; only A0 before A3 is required (§8.3.1)")
def order_of_attributes(world):
    agent = world.session()
    group = reserved(agent).number(wire.GID)
    parameters, internal, external, seconds = world.per()
    for order in ([wire.gid(group), seconds, internal, external, parameters],
                  [internal, parameters, seconds, external, wire.gid(group)]):
        expect(agent.ask(wire.PER, *order), 0x0212, "PER in another order")
    rule = reserved(agent).number(wire.PID)
    expect(agent.ask(wire.PLC, lifetime(30), pid(rule)), 0x0215, "PLC with the lifetime first")


@case("§6 step 1", "A length beyond every limit gets BFM and the end; in a session BFM, AST and the end",
      "which header checks lead to BFM is not said; behind a length that is not read nobody finds the next message")
def length_too_big(world):
    agent = world.agent()
    agent.write(header(REQUEST, wire.SE, 0xFFFF, 1))
    ends(agent, "a length of 65535", 0x0401)
    agent = world.session()
    agent.write(header(REQUEST, wire.PRL, 0xFFFF, 2))
    ends(agent, "a length of 65535", 0x0401, 0x0402)


@case("§4.3.2", "A challenge of 4096 octets is read, one of 4097 is badly formed")
def longest_challenge(world):
    agent = world.agent()
    expect(agent.ask(wire.SE, version(), (wire.CHALLENGE, b"c" * 4096)), 0x0202, "a challenge of 4096 octets")
    agent = world.agent()
    agent.send(wire.SE, version(), (wire.CHALLENGE, b"c" * 4097))
    ends(agent, "a challenge of 4097 octets", 0x0312)


@case("§4.3.1, §4.3.10", "Reserved fields are not looked at",
      "the RFC does not say what they must be; what is reserved today may mean something tomorrow")
def reserved_fields(world):
    agent = world.agent()
    expect(agent.ask(wire.SE, version(reserved=0xFFFF)), 0x0201, "SE")
    attributes = world.per()
    attributes[0] = wire.per_set(reserved=0xFFFF)
    expect(agent.ask(wire.PER, *attributes), 0x0212, "PER")


@case("§6 step 2", "A message whose rest never comes keeps nobody: the end of the connection ends the session only")
def half_a_message(world):
    agent = world.session()
    rule = enabled(agent, world).number(wire.PID)
    agent.write(Message(REQUEST, wire.PLC, 99, [pid(rule), lifetime(0)]).encode()[:-1])
    agent.close()
    again = world.session()
    expect(again.ask(wire.PRS, pid(rule)), 0x0223, "the rule of a broken session")


@case("§4.3.8, §4.3.9, §4.3.10", "A field whose value is not defined gets 0x0312",
      "no code is named for direction 0, version 3, prefix 33, location 4, parity 1 and the like")
def undefined_values(world):
    agent = world.session()
    internal, external = world.internal(), world.external()
    good = world.per()

    def per(place, attribute):
        changed = list(good)
        changed[place] = attribute
        return agent.ask(wire.PER, *changed)

    for direction in (0, 4, 255):
        expect(per(0, wire.per_set(direction)), 0x0312, f"direction {direction}")
    for parity in (1, 2, 4):
        expect(per(0, wire.per_set(parity=parity)), 0x0312, f"parity {parity} in PER")
    octets = internal.encode()
    for place, value in ((0, 0x00), (0, 0x03), (0, 0x04), (0, 0x21), (0, 0xF1), (1, 33), (1, 255), (3, 4), (3, 255)):
        wrong = octets[:place] + bytes([value]) + octets[place + 1:]
        expect(per(1, (wire.TUPLE, wrong)), 0x0312, f"octet {place} of a tuple is {value:#04x}")
    wrong = bytes([0x10]) + external.encode()[1:]
    expect(per(2, (wire.TUPLE, wrong)), 0x0312, "protocols only in twelve octets")
    for version_ in (0, 3, 15):
        expect(per(2, (wire.TUPLE, bytes([0x10 | version_, 0, wire.UDP, 3]))), 0x0312, f"protocols only of version {version_}")
    for values in ({"parity": 3}, {"inside": 3}, {"outside": 3}):
        expect(agent.ask(wire.PRR, wire.prr_set(**values), lifetime(60)), 0x0312, f"PRR with {values}")
    goes_on(agent, "undefined values")


@case("§4.2.4, §4.2.5", "The TIDs of notifications of a session are all different, and a notification is none of a request's")
def notification_tids(world):
    first, second = world.session(), world.session()
    rule = reserved(first).number(wire.PID)
    for seconds in range(20, 40):
        expect(first.ask(wire.PLC, pid(rule), lifetime(seconds)), 0x0215, "PLC")
    tids = [second.notice().tid for _ in range(21)]
    holds(len(set(tids)) == len(tids), f"a TID comes twice among {tids}")
