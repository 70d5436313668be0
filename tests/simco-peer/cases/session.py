"""Sessions: RFC 4540 §3, §5.2 and §7."""

import socket

import wire
from case import case, enabled, ends, goes_on, listed, reserved
from peer import expect, same
from wire import Message, REQUEST, lifetime, pid, version

CHALLENGE = (wire.CHALLENGE, b"who are you?")


@case("§5.2.2, §7.2", "SE with version 3.0 and no challenge is answered by SE with the capabilities alone: OPEN")
def establish(world):
    agent = world.agent()
    answer = expect(agent.ask(wire.SE, version()), 0x0201, "SE")
    same(answer.types(), [wire.CAPABILITIES], "attributes of the reply")
    goes_on(agent, "SE")


@case("§5.2.6, §7.2", "Another version gets 0x0322 with a version that the middlebox supports, and the end")
def version_mismatch(world):
    for major, minor in ((2, 0), (3, 1), (4, 0), (0, 0), (255, 255)):
        agent = world.agent()
        answer = expect(agent.ask(wire.SE, version(major, minor)), 0x0322, f"version {major}.{minor}")
        same(answer.types(), [wire.VERSION], "attributes of 0x0322")
        same(answer.value(wire.VERSION)[:2], b"\3\0", "the version it supports")
        ends(agent, "after 0x0322")


@case("§7.2", "After 0x0322 the agent may come back with the version that was named")
def version_agreed(world):
    agent = world.agent()
    named = agent.ask(wire.SE, version(9, 9)).value(wire.VERSION)
    again = world.agent()
    expect(again.ask(wire.SE, version(named[0], named[1])), 0x0201, "SE with the version named")


@case("§7.2", "SE in OPEN gets 0x0320 and changes nothing", "and not 0x0311, which §6 step 4 would have: §7.2 is explicit")
def establish_twice(world):
    agent = world.session()
    expect(agent.ask(wire.SE, version()), 0x0320, "SE in OPEN")
    goes_on(agent, "SE in OPEN")


@case("§7.3", "SA in OPEN gets 0x0320 and changes nothing")
def authenticate_when_open(world):
    agent = world.session()
    expect(agent.ask(wire.SA), 0x0320, "SA in OPEN")
    expect(agent.ask(wire.SA, (wire.TOKEN, b"x")), 0x0320, "SA with a token in OPEN")
    goes_on(agent, "SA in OPEN")


def noauth(world):
    """A session in NOAUTH and the SA reply that brought it there."""
    agent = world.agent()
    answer = agent.ask(wire.SE, version(), CHALLENGE)
    return agent, expect(answer, 0x0202, "SE with a challenge")


@case("§5.2.3, §7.2", "A challenge is answered by SA with a token, which is empty if the middlebox cannot authenticate")
def challenge(world):
    _, answer = noauth(world)
    same(answer.types(), [wire.TOKEN], "attributes of the SA reply")
    same(answer.value(wire.TOKEN), b"", "the token of a middlebox that cannot authenticate itself by it")


@case("§5.2.4, §7.1, §7.3", "SA in NOAUTH, with or without a token, opens the session if the agent need not authenticate")
def authenticate(world):
    for attributes in ([], [(wire.TOKEN, b"")], [(wire.TOKEN, b"t" * 4096)]):
        agent, _ = noauth(world)
        answer = expect(agent.ask(wire.SA, *attributes), 0x0201, "SA")
        same(answer.types(), [wire.CAPABILITIES], "attributes of the reply to SA")
        goes_on(agent, "SA")


@case("§6 step 5, §7.1", "A badly formed SA in NOAUTH gets 0x0312, and the connection is closed")
def badly_formed_sa(world):
    for attributes in ([CHALLENGE], [(wire.TOKEN, b""), (wire.TOKEN, b"")], [(wire.TOKEN, b"t" * 4097)], [version()]):
        agent, _ = noauth(world)
        agent.send(wire.SA, *attributes)
        ends(agent, "SA", 0x0312)


@case("§7.2", "SE in NOAUTH gets 0x0320 and changes nothing", "§7.2, and not the SE reply that §6 step 4 would allow")
def establish_in_noauth(world):
    agent, _ = noauth(world)
    expect(agent.ask(wire.SE, version()), 0x0320, "SE in NOAUTH")
    expect(agent.ask(wire.SA), 0x0201, "SA after it")


@case("§7.1", "In NOAUTH requests about rules are not accepted: 0x0311, and the connection is closed",
      "established means OPEN (§7.1), so §6 step 4 applies, but for SA and ST")
def rules_in_noauth(world):
    for sub, attributes in ((wire.PRL, []), (wire.PER, world.per()), (wire.PRS, [pid(1)]), (0xEE, [])):
        agent, _ = noauth(world)
        agent.send(sub, *attributes)
        ends(agent, f"sub-type {sub:#04x} in NOAUTH", 0x0311)


@case("§7.1, §7.4", "ST in NOAUTH is answered by ST, and the connection is closed")
def terminate_in_noauth(world):
    agent, _ = noauth(world)
    agent.send(wire.ST)
    ends(agent, "ST in NOAUTH", 0x0203)


@case("§5.2.5, §7.4", "ST in OPEN is answered by ST, and the connection is closed")
def terminate(world):
    agent = world.session()
    agent.send(wire.ST)
    ends(agent, "ST", 0x0203)


@case("§5.2.5, §6 step 5", "ST has no attributes: with one it gets 0x0312, and the session goes on")
def terminate_badly(world):
    agent = world.session()
    expect(agent.ask(wire.ST, pid(1)), 0x0312, "ST with a PID")
    goes_on(agent, "ST with a PID")


@case("§7.4", "Requests behind ST are ignored, those before it are answered before its reply",
      "the RFC says nothing of requests in work when ST comes; they are answered as before AST (§7.5)")
def around_st(world):
    agent = world.session()
    before = [Message(REQUEST, wire.PER, 10 + n, world.per(internal=world.internal(20000 + n))) for n in range(20)]
    behind = [Message(REQUEST, wire.PRL, 90)]
    octets = b"".join(one.encode() for one in before + [Message(REQUEST, wire.ST, 50)] + behind)
    agent.write(octets)
    for _ in before:
        expect(agent.receive(), 0x0212, "PER before ST")
    ends(agent, "ST", 0x0203)
    same(len(listed(world.session())), len(before), "rules that ST has left behind")


@case("§7.2", "An agent that may not configure the middlebox gets 0x0324, and the connection is closed")
def stranger(world):
    agent = world.agent("stranger")
    agent.send(wire.SE, version())
    ends(agent, "SE of a stranger", 0x0324)


@case("§7.2", "The version is looked at before the authorization", "the order in which §7.2 names its checks")
def order_of_checks(world):
    agent = world.agent("stranger")
    agent.send(wire.SE, version(2, 0))
    ends(agent, "SE of a stranger with version 2.0", 0x0322)


@case("§7.2", "Too many sessions of one agent: 0x0321, and the connection is closed; others are served")
def lack_of_resources(world):
    for _ in range(64):
        world.session()
    agent = world.agent()
    agent.send(wire.SE, version(8, 0))
    ends(agent, "one session too many, before its version is looked at", 0x0321)
    goes_on(world.session("other"), "another agent")


@case("§3", "An agent may have several sessions at a time, each with TIDs of its own, and all see its rules")
def several_sessions(world):
    first, second = world.session(), world.session()
    rule = enabled(first, world).number(wire.PID)
    same(listed(second), [rule], "rules seen by the other session")
    expect(second.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC by the other session")


@case("§7.4, §7.6", "Rules outlive their session, however it ends (RFC 5189 §2.2.4)")
def rules_outlive_sessions(world):
    agent = world.session()
    rules = [enabled(agent, world).number(wire.PID)]
    expect(agent.ask(wire.ST), 0x0203, "ST")
    agent = world.session()
    rules.append(reserved(agent).number(wire.PID))
    agent.close()
    agent = world.session()
    rules.append(enabled(agent, world, internal=world.internal(21000)).number(wire.PID))
    agent.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    agent.close()
    same(listed(world.session()), rules, "rules of three sessions that are over")


@case("§7.6", "A connection that the agent half-closes is interrupted: the session ends, what was answered before stays",
      "RFC 5189 §2.2.4: the effect on established rules is that of AST; requests still in work are nobody's any more")
def half_closed(world):
    agent = world.session()
    rule = reserved(agent).number(wire.PID)
    agent.finish()
    while agent.receive() is not None:
        pass
    same(listed(world.session()), [rule], "rules")


@case("§3", "SIMCO is served over TCP on port 7626, with IPv4 and IPv6")
def over_ipv6(world):
    same(world.middlebox[1], 7626, "the port of SIMCO")
    agent = world.agent(over=world.middlebox_v6)
    agent.open()
    goes_on(agent, "IPv6")


@case("§3", "Another reliable transport than TCP may be used: a Unix socket")
def over_unix(world):
    agent = world.agent(over=world.socket)
    agent.open()
    rule = enabled(agent, world).number(wire.PID)
    same(listed(agent), [rule], "rules")
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC")


@case("§7.1", "Pipelined: requests sent before the SE reply has come are not lost")
def without_waiting(world):
    agent = world.agent()
    tids = [agent.send(wire.SE, version()), agent.send(wire.PRL), agent.send(wire.PRR, wire.prr_set(), lifetime(60))]
    for tid, code in zip(tids, (0x0201, 0x0222, 0x0211)):
        expect(agent.reply(tid), code, "pipelined")
