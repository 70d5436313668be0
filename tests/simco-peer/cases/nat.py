"""A middlebox that translates addresses: RFC 4540 §4.3.3, §8.2.3, §8.3.3 and §8.4.3; RFC 5189 §2.3.5, §2.3.9."""

import wire
from case import case, enabled, listed, reserved, state
from peer import expect, holds, same
from wire import BOTH, INBOUND, INSIDE, OUTBOUND, OUTSIDE, TCP, gid, lifetime, pid, prr_set

TRADITIONAL, TWICE = 1, 2
ODD, EVEN = 1, 2


def pool(world, outside):
    """That this A2 is an address and ports of the pool."""
    same((outside.location, str(outside.network), outside.prefix), (OUTSIDE, world.nat_address, 32), "location, address, prefix of A2")
    first, last = world.nat_ports
    holds(first <= outside.port and outside.port + outside.ports - 1 <= last, f"ports {outside.port}+{outside.ports} of the pool")


@case("§4.3.3", "A NAT says so, and which of port translation, protocol translation and twice NAT it has", needs="NAT")
def capabilities(world):
    has = world.session().capabilities
    same((has.kind & 0x40, has.kind & 0x01, has.kind & 0x02), (0x40, 0x01, 0), "address, port, protocol translation")


@case("§8.2.3, §5.3.9", "A reservation gives A2 as a full address with base port and range, and no A1 for a traditional NAT", needs="NAT")
def reservation(world):
    agent = world.session()
    for ports in (1, 2, 3, 8):
        for version in (0, 1):
            made = reserved(agent, ports=ports, mode=TRADITIONAL, outside=version)
            (outside,) = made.tuples()
            pool(world, outside)
            same((outside.version, outside.protocol, outside.ports), (1, wire.UDP, ports), "version, protocol, range")


@case("§4.3.9, §8.2.3", "The lowest port of a reservation has the parity that was asked for", needs="NAT")
def parity(world):
    agent = world.session()
    for parity_, remainder in ((ODD, 1), (EVEN, 0)):
        for ports in (1, 2):
            (outside,) = reserved(agent, ports=ports, parity=parity_, mode=TRADITIONAL).tuples()
            same(outside.port % 2, remainder, f"parity of port {outside.port}")


@case("§8.2.3", "What is reserved is nobody else's", needs="NAT")
def exclusive(world):
    taken = set()
    for who in ("own", "other") * 5:
        (outside,) = reserved(world.session(who), ports=3, mode=TRADITIONAL).tuples()
        ports = set(range(outside.port, outside.port + outside.ports))
        holds(not taken & ports, f"{ports} are taken already")
        taken |= ports


@case("§8.2.3", "NM twice on a traditional NAT is answered with A2 alone", needs="NAT",
      reading="§8.2.3 would have 0x034E; RFC 5189 §2.3.8 wants twice from agents that have no wish")
def twice(world):
    made = reserved(world.session(), mode=TWICE)
    same([one.location for one in made.tuples()], [OUTSIDE], "tuples")


@case("§8.2.1, §4.2.3", "A protocol that the NAT cannot translate: 0x0354; an IP version that it cannot turn into the other: 0x034F", needs="NAT")
def unsupported(world):
    agent = world.session()
    expect(agent.ask(wire.PRR, prr_set(protocol=TCP, mode=TRADITIONAL), lifetime(60)), 0x0354, "PRR for TCP")
    expect(agent.ask(wire.PER, *world.per(external=world.external(network=world.outside_v6))), 0x034F, "PER from IPv6 to IPv4")
    same(listed(agent), [], "rules")


@case("§8.4.3", "PEA keeps the outside tuple that was reserved; the PER reply reports it, and as A1 what A3 is", needs="NAT",
      reading="§8.4.3 reports an inside tuple that a traditional NAT never reserved: A1 is A3 (RFC 5189 §2.3.5)")
def enabled_reservation(world):
    agent = world.session()
    made = reserved(agent, ports=2, parity=EVEN, mode=TRADITIONAL)
    (outside,) = made.tuples()
    rule = made.number(wire.PID)
    external = world.external(0, 2)
    answer = expect(agent.ask(wire.PEA, *world.per(internal=world.internal(ports=2), external=external, more=[pid(rule)])), 0x0212, "PEA")
    same(answer.tuples(), [outside, external.at(INSIDE)], "A2 and A1")
    same([answer.number(wire.PID), answer.number(wire.GID)], [rule, made.number(wire.GID)], "PID and GID")


@case("§8.3.3", "PER without a reservation takes a full outside address with as many ports, and reports it", needs="NAT")
def per(world):
    agent = world.session()
    for ports in (1, 2, 4):
        internal = world.internal(20000 + 100 * ports, ports)
        answer = enabled(agent, world, internal=internal)
        outside, inside = answer.tuples()
        pool(world, outside)
        same((outside.ports, outside.protocol), (ports, wire.UDP), "range and protocol of A2")
        same(inside, world.external(ports=ports).at(INSIDE), "A1")


@case("§4.3.10, §8.3.3", "Parity same: the lowest port of A2 is odd or even as that of A0 (RFC 5189 §2.3.9)", needs="NAT")
def same_parity(world):
    agent = world.session()
    for port in (20000, 20011, 20022, 20033):
        outside, _ = enabled(agent, world, internal=world.internal(port), parity=3).tuples()
        same(outside.port % 2, port % 2, f"parity of {outside.port} for {port}")


@case("§4.2.3, §4.3.10", "Parity same that a reservation cannot keep: 0x0358, and the reservation stays", needs="NAT",
      reading="no section assigns the code; this is what it says")
def parity_lost(world):
    agent = world.session()
    rule = reserved(agent, ports=1, parity=ODD, mode=TRADITIONAL).number(wire.PID)
    expect(agent.ask(wire.PEA, *world.per(internal=world.internal(20000), parity=3, more=[pid(rule)])), 0x0358, "PEA")
    expect(state(agent, rule), 0x0221, "PRS")
    expect(agent.ask(wire.PEA, *world.per(internal=world.internal(20001), parity=3, more=[pid(rule)])), 0x0212, "PEA that fits")


@case("§8.8.4, §8.8.5", "A disable rule ends the translated rules that it overlaps, and nothing passes by their outside address", needs="NAT")
def disabled(world):
    agent = world.session()
    inside, outside = world.post("inside"), world.post("outside")
    doomed, kept = enabled(agent, world), enabled(agent, world, internal=world.internal(21000))
    internal = world.internal(20000)
    answer = agent.ask(wire.PDR, internal.attribute, world.external(ports=1).attribute, lifetime(60))
    expect(answer, 0x0214, "PDR")
    same(agent.notice().number(wire.PID), doomed.number(wire.PID), "the rule that was ended")
    for port in (20000, 21000):
        inside.do("hear", at=[world.inside, port])
    away = [world.outside, 30000]
    outside.do("send", source=away, to=[world.nat_address, doomed.tuples()[0].port], text="forbidden")
    outside.do("send", source=away, to=[world.nat_address, kept.tuples()[0].port], text="allowed")
    inside.do("until", at=[world.inside, 21000], text="allowed")
    same(inside.do("heard", at=[world.inside, 20000]), [], "what has come through the one that was ended")
    expect(agent.ask(wire.PER, *world.per()), 0x0350, "PER while it lives")


@case("§8.6, §5.3.13, §5.3.14", "PRS tells the same tuples as the reply that made the rule", needs="NAT")
def status(world):
    agent = world.session()
    made = reserved(agent, ports=2, mode=TRADITIONAL)
    answer = expect(state(agent, made.number(wire.PID)), 0x0221, "PRS")
    same(answer.tuples(), made.tuples(), "tuples of the reservation")
    rule = enabled(agent, world)
    outside, inside = rule.tuples()
    answer = expect(state(agent, rule.number(wire.PID)), 0x0223, "PRS")
    same(answer.tuples(), [world.internal(), inside, outside, world.external(ports=1)], "A0, A1, A2, A3")


@case("§8.3.3", "A second rule for the same A0 gets the same A2: an endpoint inside has one outside (RFC 5189 §2.3.9)", needs="NAT",
      reading="neither RFC says so in words; without it a phone would send from another address than it receives on")
def one_outside(world):
    agent = world.session()
    first = enabled(agent, world, external=world.external(30000), direction=INBOUND)
    group = gid(first.number(wire.GID))
    second = enabled(agent, world, internal=world.internal(), external=world.external(30000), direction=OUTBOUND, more=[group])
    same(second.tuples()[0], first.tuples()[0], "A2")


@case("§8.3.3", "An IP version without an outside address is not translated: A2 is A0", needs="NAT")
def other_version(world):
    internal = world.internal(network=world.inside_v6)
    outside, _ = enabled(world.session(), world, internal=internal, external=world.external(network=world.outside_v6)).tuples()
    same(outside, internal.at(OUTSIDE), "A2")


@case("§8.3.3, §8.3.4, §8.4.3", "Packets to A2 reach A0, those of A0 leave from A2, those to the next ports reach nobody", needs="NAT")
def packets(world):
    agent = world.session()
    inside, outside = world.post("inside"), world.post("outside")
    made = reserved(agent, ports=2, parity=EVEN, mode=TRADITIONAL)
    (mapped,) = made.tuples()
    tuples = {"internal": world.internal(ports=2), "external": world.external(30000, 2), "direction": BOTH}
    expect(agent.ask(wire.PEA, *world.per(more=[pid(made.number(wire.PID))], **tuples)), 0x0212, "PEA")
    for offset in (0, 1):
        home, away = [world.inside, 20000 + offset], [world.outside, 30000 + offset]
        a2 = [world.nat_address, mapped.port + offset]
        inside.do("hear", at=home)
        outside.do("hear", at=away)
        outside.do("send", source=away, to=[a2[0], mapped.port + 2], text=f"astray {offset}")
        outside.do("send", source=away, to=home, text=f"untranslated {offset}")
        outside.do("send", source=away, to=a2, text=f"in {offset}")
        inside.do("until", at=home, text=f"in {offset}")
        same(inside.do("heard", at=home), [], "what else has come")
        same(inside.do("who", text=f"in {offset}"), away, "who it came from")
        inside.do("send", source=home, to=away, text=f"out {offset}")
        outside.do("until", at=away, text=f"out {offset}")
        same(outside.do("who", text=f"out {offset}"), a2, "who it came from outside")


@case("§4.2.3, §8.2.3", "No ports left: 0x0349, for PRR and for PER; what others have stays theirs", needs="NAT")
def exhausted(world):
    agent = world.session()
    kept = enabled(world.session("other"), world, internal=world.internal(25000)).number(wire.PID)
    for _ in range(1000):
        answer = agent.ask(wire.PRR, prr_set(64, mode=TRADITIONAL), lifetime(60))
        if answer.code != 0x0211:
            break
    expect(answer, 0x0349, "PRR of 64 ports when none is left")
    while (answer := agent.ask(wire.PRR, prr_set(1, mode=TRADITIONAL), lifetime(60))).code == 0x0211:
        pass
    expect(answer, 0x0349, "PRR of one port when none is left")
    expect(agent.ask(wire.PER, *world.per(internal=world.internal(26000))), (0x0349, 0x034A), "PER when none is left")
    same(listed(world.session("other")), [kept], "the other agent's rule")
