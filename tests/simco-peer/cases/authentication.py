"""Challenge and token: RFC 4540 §4.3.2, §5.2.1 to §5.2.4, §7.2 and §7.3. What stands in them is in docs/simco.md."""

import os

import proof
import wire
from case import case, enabled, ends, goes_on, listed
from peer import Failed, expect, holds, same
from wire import NOTIFICATION, lifetime, pid, version

NEEDS = "secrets"


def asked(world, who="own", ours=b""):
    """SE, with this challenge if it is one: the agent, and the SA reply."""
    agent = world.agent(who)
    challenge = [(wire.CHALLENGE, ours)] if ours else []
    return agent, expect(agent.ask(wire.SE, version(), *challenge), 0x0202, "SE")


def answer(agent, role, ours, theirs, secret=None):
    """The attribute with this token."""
    return (wire.TOKEN, proof.token(secret or agent.secret, role, ours, theirs))


def authenticated(agent, ours, theirs):
    """The agent proves itself."""
    return expect(agent.ask(wire.SA, answer(agent, proof.AGENT, ours, theirs)), 0x0201, "SA with a good token")


@case("§7.2", "Both want a proof: SA has a challenge for the agent and the token of the middlebox; a good token opens the session",
      needs=NEEDS)
def mutual(world):
    agent = world.agent()
    ours = proof.challenge(agent.secret)
    reply = expect(agent.ask(wire.SE, version(), (wire.CHALLENGE, ours)), 0x0202, "SE with a challenge")
    same(reply.types(), [wire.CHALLENGE, wire.TOKEN], "attributes of the SA reply")
    theirs = reply.value(wire.CHALLENGE)
    same(reply.value(wire.TOKEN), proof.token(agent.secret, proof.MIDDLEBOX, ours, theirs), "the middlebox's token")
    same(authenticated(agent, ours, theirs).types(), [wire.CAPABILITIES], "attributes of the SE reply")
    rule = enabled(agent, world).number(wire.PID)
    same(listed(agent), [rule], "rules")


@case("§5.2.3, §7.2", "Only the middlebox wants a proof: SA has its challenge and no token", needs=NEEDS)
def middlebox_asks(world):
    agent, reply = asked(world)
    same(reply.types(), [wire.CHALLENGE], "attributes of the SA reply")
    authenticated(agent, b"", reply.value(wire.CHALLENGE))
    goes_on(agent, "SA")


@case("§7.2", "Only the agent has something to ask: a middlebox without a secret has an empty token and no challenge", needs=NEEDS)
def nothing_agreed(world):
    agent, reply = asked(world, "plain", b"who are you?")
    same((reply.types(), reply.value(wire.TOKEN)), ([wire.TOKEN], b""), "the SA reply")
    expect(agent.ask(wire.SA), 0x0201, "SA")
    expect(world.agent("plain").ask(wire.SE, version()), 0x0201, "SE of an agent that has nothing to prove")


@case("§7.3", "A token that is not good gets 0x0323, and the connection is closed", needs=NEEDS)
def wrong_tokens(world):
    def tries(what, make):
        agent = world.agent()
        ours = proof.challenge(agent.secret)
        reply = expect(agent.ask(wire.SE, version(), (wire.CHALLENGE, ours)), 0x0202, "SE with a challenge")
        theirs = reply.value(wire.CHALLENGE)
        good = proof.token(agent.secret, proof.AGENT, ours, theirs)
        agent.send(wire.SA, *make(agent, ours, theirs, good, reply.value(wire.TOKEN)))
        ends(agent, what, 0x0323)

    other = world.secrets["other"].encode()
    flipped = lambda good, at: bytes(octet ^ (1 if place == at else 0) for place, octet in enumerate(good))
    tries("no token", lambda *_: [])
    tries("an empty token", lambda *_: [(wire.TOKEN, b"")])
    tries("another agent's secret", lambda a, o, t, *_: [answer(a, proof.AGENT, o, t, other)])
    tries("the middlebox's own token", lambda a, o, t, good, mirror: [(wire.TOKEN, mirror)])
    tries("over another challenge", lambda a, o, t, *_: [answer(a, proof.AGENT, o, os.urandom(32))])
    tries("over one challenge alone", lambda a, o, t, *_: [answer(a, proof.AGENT, b"", t)])
    tries("a token with an end", lambda a, o, t, good, _: [(wire.TOKEN, good + b"\0")])
    tries("the longest there is", lambda *_: [(wire.TOKEN, b"t" * 4096)])
    tries("half of it", lambda a, o, t, good, _: [(wire.TOKEN, good[:16])])
    for at in (0, 15, 31):
        tries(f"octet {at} is another", lambda a, o, t, good, _, at=at: [(wire.TOKEN, flipped(good, at))])
    goes_on(world.session(), "twelve failures")


@case("§7.3, §9.1", "The token of one session is of no use in another: no challenge comes twice", needs=NEEDS)
def replay(world):
    agent, reply = asked(world)
    old = answer(agent, proof.AGENT, b"", reply.value(wire.CHALLENGE))
    expect(agent.ask(wire.SA, old), 0x0201, "SA")
    seen = {reply.value(wire.CHALLENGE)}
    for _ in range(20):
        agent, reply = asked(world)
        seen.add(reply.value(wire.CHALLENGE))
        agent.send(wire.SA, old)
        ends(agent, "a token heard before", 0x0323)
    same(len(seen), 21, "different challenges")
    holds(all(len(one) >= 16 for one in seen), "a challenge cannot be guessed")


@case("§7.1, §7.3", "In NOAUTH nothing is done about rules (0x0311, closed), and a second SE changes nothing (0x0320)", needs=NEEDS)
def in_noauth(world):
    agent, reply = asked(world)
    expect(agent.ask(wire.SE, version()), 0x0320, "SE in NOAUTH")
    authenticated(agent, b"", reply.value(wire.CHALLENGE))
    for sub, attributes in ((wire.PRL, []), (wire.PER, world.per())):
        agent, _ = asked(world)
        agent.send(sub, *attributes)
        ends(agent, f"sub-type {sub:#04x} in NOAUTH", 0x0311)
    agent, _ = asked(world)
    agent.send(wire.ST)
    ends(agent, "ST in NOAUTH", 0x0203)


@case("§7.2", "The version is looked at before anybody has to prove anything", needs=NEEDS)
def version_first(world):
    agent = world.agent()
    agent.send(wire.SE, version(2, 0), (wire.CHALLENGE, b"who are you?"))
    ends(agent, "SE with version 2.0", 0x0322)


@case("§7.3", "An agent may be known by its secret alone: the token says which one it is, and the rules are its own", needs=NEEDS)
def known_by_secret(world):
    sessions = {who: world.session(who) for who in ("roamer", "wanderer")}
    port = 21000
    rules = {}
    for who, agent in sessions.items():
        port += 2
        rules[who] = enabled(agent, world, internal=world.internal(port)).number(wire.PID)
    for who, agent in sessions.items():
        same(listed(agent), [rules[who]], f"rules of {who}")
        same(agent.ask(wire.PRS, pid(rules[who])).value(wire.OWNER), who.encode(), "owner")
    expect(sessions["roamer"].ask(wire.PLC, pid(rules["wanderer"]), lifetime(0)), 0x0345, "PLC of another's rule")
    # From the address of another agent nobody is known by the secret alone.
    agent, reply = asked(world)
    roamer = world.secrets["roamer"].encode()
    agent.send(wire.SA, answer(agent, proof.AGENT, b"", reply.value(wire.CHALLENGE), roamer))
    ends(agent, "another agent's secret from an address that is an agent's", 0x0323)


@case("§7.2", "Which of several secrets an unknown agent means is said by the key id in its challenge; without one the token is empty",
      "the RFC leaves the format of challenges open; the token of SA, in turn, is tried with each secret", needs=NEEDS)
def key_id(world):
    agent, reply = asked(world, "roamer", b"who are you?")
    same(reply.value(wire.TOKEN), b"", "the token of a middlebox that cannot tell who asks")
    authenticated(agent, b"who are you?", reply.value(wire.CHALLENGE))
    same(listed(agent), [], "rules")
    agent = world.agent("roamer")
    unknown = proof.challenge(b"k" * 32)
    reply = expect(agent.ask(wire.SE, version(), (wire.CHALLENGE, unknown)), 0x0202, "SE")
    same(reply.value(wire.TOKEN), b"", "the token for a secret that nobody has")
    agent.send(wire.SA, answer(agent, proof.AGENT, unknown, reply.value(wire.CHALLENGE), b"k" * 32))
    ends(agent, "the token of a secret that nobody has", 0x0323)


@case("§7.5, §7.3", "Who is nobody and proves nothing for 10 s gets AST, and the connection is closed; others are served meanwhile",
      "the RFC has no time limit for SA", needs=NEEDS)
def patience(world):
    idle = [asked(world, "roamer")[0] for _ in range(3)]
    goes_on(world.session("wanderer"), "while others prove nothing")
    for agent in idle:
        last = agent.receive()
        if last is None or (last.basic, last.sub) != (NOTIFICATION, wire.AST):
            raise Failed(f"expected AST, got {last or 'the end of the connection'}")
        ends(agent, "AST")


@case("§7.2", "Many who prove nothing keep nobody out", needs=NEEDS)
def crowd(world):
    for _ in range(150):
        asked(world, "roamer")
    goes_on(world.session("wanderer"), "behind a crowd")
    goes_on(world.session(), "behind a crowd")
