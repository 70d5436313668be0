"""Disable rules: RFC 4540 §5.3.8, §5.3.15, §5.3.17 and §8.8."""

import wire
from case import case, enabled, listed, reserved, state
from peer import expect, holds, same
from wire import BOTH, EXTERNAL, INTERNAL, TCP, AddressTuple, lifetime, pid


def pdr(world, agent, internal=None, external=None, seconds=60):
    """§8.8.1's example: nothing from that host to anybody inside."""
    internal = internal or world.internal(0, network="0.0.0.0/0")
    external = external or world.external(0, ports=1)
    return agent.ask(wire.PDR, internal.attribute, external.attribute, lifetime(seconds))


def disabled(world, agent, **how):
    return expect(pdr(world, agent, **how), 0x0214, "PDR")


@case("§8.8.2", "An agent that may not disable communication: 0x0341, before anything else is looked at", needs="disable rules without leave")
def not_authorized(world):
    agent = world.session()
    rule = enabled(agent, world).number(wire.PID)
    expect(pdr(world, agent), 0x0341, "PDR")
    expect(pdr(world, agent, world.internal().at(EXTERNAL), seconds=0), (0x0341, 0x034B), "PDR with everything wrong")
    same(listed(agent), [rule], "rules")


@case("§5.3.17, §8.8.3", "PDR is answered with PID and lifetime; the rule is ENABLED and in the list", needs="leave to disable")
def reply(world):
    agent = world.session()
    answer = disabled(world, agent, seconds=77)
    same(answer.types(), [wire.PID, wire.LIFETIME], "attributes")
    same(answer.number(wire.LIFETIME), 77, "lifetime")
    same(listed(agent), [answer.number(wire.PID)], "rules")


@case("§5.3.15, §8.6", "PRS of a disable rule is answered by PDS: PID, A0 and A3 as asked for, what is left, owner", needs="leave to disable")
def status(world):
    agent = world.session()
    internal, external = world.internal(20000, 4), world.external(30000, 4)
    rule = disabled(world, agent, internal=internal, external=external).number(wire.PID)
    answer = expect(state(agent, rule), 0x0224, "PRS")
    same(answer.types(), [wire.PID, wire.TUPLE, wire.TUPLE, wire.LIFETIME, wire.OWNER], "attributes")
    same(answer.tuples(), [internal, external], "A0 and A3")
    holds(58 <= answer.number(wire.LIFETIME) <= 60, "what is left")


@case("§8.8.2", "The tuples are checked: locations, protocols, ranges: 0x034B", needs="leave to disable")
def tuples(world):
    agent = world.session()
    internal, external = world.internal(), world.external(30000)
    for what, one, two in (("locations", internal.at(EXTERNAL), external), ("locations", internal, external.at(INTERNAL)),
                           ("protocols", internal, world.external(30000, protocol=TCP)),
                           ("ranges", world.internal(ports=2), world.external(30000, 3))):
        expect(pdr(world, agent, one, two), 0x034B, f"PDR with wrong {what}")
    expect(pdr(world, agent, seconds=0), 0x034A, "PDR with lifetime 0")
    same(listed(agent), [], "rules")


@case("§8.8.1, §4.3.8", "Wildcards of addresses, ports, prefixes and of everything, on both sides", needs="leave to disable",
      reading="§4.3.8 has wildcards in PER and PEA only; the examples of §8.8.1 need them")
def wildcards(world):
    agent = world.session()
    for internal, external in (
        (world.internal(0, network="0.0.0.0/0"), world.external(0, network="198.51.100.0/25")),
        (AddressTuple.protocols_only(INTERNAL, 1), world.external(0)),
        (world.internal(0, network="0.0.0.0/0"), AddressTuple.protocols_only(EXTERNAL, 1)),
        (world.internal(20000, 2, network=world.inside_network), world.external(0, 2)),
    ):
        rule = disabled(world, agent, internal=internal, external=external).number(wire.PID)
        expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")


@case("§8.8.1, §8.8.2", "A disable rule ends every enable rule that it overlaps, whoever owns it: ARE with zero", needs="leave to disable")
def ends_enable_rules(world):
    agent, other = world.session(), world.session("other")
    hit = [enabled(agent, world).number(wire.PID),
           enabled(agent, world, internal=world.internal(20000, 4), external=world.external(30000, 4), direction=BOTH).number(wire.PID)]
    theirs = enabled(other, world, internal=world.internal(20003)).number(wire.PID)
    missed = enabled(agent, world, internal=world.internal(21000)).number(wire.PID)
    kept = reserved(agent).number(wire.PID)
    rule = disabled(world, agent, internal=world.internal(20000, 4), external=world.external(0, 4)).number(wire.PID)
    gone = set()
    while gone != set(hit):
        notice = expect(agent.notice(), 0x0403, "ARE")
        same(notice.number(wire.LIFETIME), 0, "lifetime of ARE")
        gone.add(notice.number(wire.PID))
    notice = expect(other.notice(), 0x0403, "ARE to the other owner")
    same((notice.number(wire.PID), notice.number(wire.LIFETIME)), (theirs, 0), "the other owner's rule")
    same(sorted(listed(agent)), sorted([missed, kept, rule]), "what is left")
    same(listed(other), [], "what is left of the other")


@case("§8.3.1, §8.4.1, §8.8.2", "While it lives every PER and PEA that overlaps it is refused: 0x0350; afterwards not", needs="leave to disable")
def refuses_enable_rules(world):
    agent, other = world.session(), world.session("other")
    rule = disabled(world, agent).number(wire.PID)
    for who in (agent, other):
        expect(who.ask(wire.PER, *world.per()), 0x0350, "PER")
        reservation = reserved(who).number(wire.PID)
        expect(who.ask(wire.PEA, *world.per(more=[pid(reservation)])), 0x0350, "PEA")
        expect(state(who, reservation), 0x0221, "the reservation afterwards")
    enabled(other, world, external=world.external(network="192.0.2.20"))
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
    for who in (agent, other):
        enabled(who, world)


@case("§8.8.1", "A wildcard that only partly overlaps is a conflict too", needs="leave to disable")
def partial_overlap(world):
    agent = world.session()
    rule = enabled(agent, world, external=world.external(network="0.0.0.0/0")).number(wire.PID)
    disabled(world, agent)
    same(agent.notice().number(wire.PID), rule, "the rule that was ended")
    expect(agent.ask(wire.PER, *world.per(external=world.external(network="0.0.0.0/0"))), 0x0350, "PER from anybody")


@case("§8.8.2", "A wildcard of the protocol is one of ports, whatever the port fields say", needs="leave to disable")
def any_protocol(world):
    agent = world.session()
    rules = {enabled(agent, world, internal=world.internal(port)).number(wire.PID) for port in (20000, 21000)}
    rules.add(enabled(agent, world, internal=world.internal(protocol=TCP), external=world.external(protocol=TCP)).number(wire.PID))
    disabled(world, agent, internal=world.internal(5060, 7, protocol=0), external=world.external(53, 9, protocol=0))
    same({agent.notice().number(wire.PID) for _ in rules}, rules, "rules that were ended")


@case("§8.8.2, §8.9", "Disable rules among themselves do not conflict; a lifetime that ends ends them", needs="leave to disable",
      reading="the RFC does not say what overlapping disable rules do: they live side by side")
def among_themselves(world):
    agent = world.session()
    first = disabled(world, agent, seconds=60).number(wire.PID)
    second = disabled(world, agent, seconds=2).number(wire.PID)
    notice = agent.notice()
    same((notice.number(wire.PID), notice.number(wire.LIFETIME)), (second, 0), "ARE")
    same(listed(agent), [first], "rules")
    expect(agent.ask(wire.PER, *world.per()), 0x0350, "PER while the first lives")


@case("§8.4.1", "PEA on a disable rule: 0x034B", needs="leave to disable")
def pea(world):
    agent = world.session()
    rule = disabled(world, agent).number(wire.PID)
    expect(agent.ask(wire.PEA, *world.per(more=[pid(rule)])), 0x034B, "PEA")
