"""Enabling after a reservation: RFC 4540 §5.3.4 and §8.4."""

import wire
from case import case, enabled, reserved, state
from peer import expect, holds, same
from wire import EXTERNAL, INSIDE, OUTSIDE, TCP, AddressTuple, lifetime, pid


def pea(world, agent, rule, **how):
    return agent.ask(wire.PEA, *world.per(more=[pid(rule)], **how))


@case("§5.3.10, §8.4.2", "PEA is answered by a PER reply with the PID and the GID of the reservation; the rule is ENABLED")
def reply(world):
    agent = world.session()
    before = reserved(agent)
    rule = before.number(wire.PID)
    internal, external = world.internal(ports=2), world.external(30000, 2)
    answer = expect(pea(world, agent, rule, internal=internal, external=external, seconds=99), 0x0212, "PEA")
    same(answer.types(), [wire.PID, wire.GID, wire.LIFETIME, wire.TUPLE, wire.TUPLE], "attributes")
    same([answer.number(wire.PID), answer.number(wire.GID)], [rule, before.number(wire.GID)], "PID and GID")
    same(answer.number(wire.LIFETIME), 99, "lifetime")
    if not agent.capabilities.nat:
        same(answer.tuples(), [internal.at(OUTSIDE), external.at(INSIDE)], "A2 and A1")
    expect(state(agent, rule), 0x0223, "PRS")


@case("§8.4.1", "A PID that does not exist: 0x0343")
def unknown(world):
    agent = world.session()
    expect(pea(world, agent, 0xFFFFFFFF), 0x0343, "PEA")


@case("§8.4.1", "A rule that is not RESERVED: 0x034B", "0x0357, already enable PID, exists for it; §8.4.1 orders 0x034B")
def not_reserved(world):
    agent = world.session()
    rule = enabled(agent, world).number(wire.PID)
    expect(pea(world, agent, rule), 0x034B, "PEA on an enabled rule")
    done = reserved(agent).number(wire.PID)
    expect(pea(world, agent, done), 0x0212, "PEA")
    expect(pea(world, agent, done), 0x034B, "PEA twice")


@case("§8.4.1", "A reservation of another agent: 0x0345; its state is looked at before its owner")
def of_another(world):
    other = world.session("other")
    reservation, rule = reserved(other).number(wire.PID), enabled(other, world).number(wire.PID)
    agent = world.session()
    expect(pea(world, agent, reservation), 0x0345, "PEA on another agent's reservation")
    expect(pea(world, agent, rule), 0x034B, "PEA on another agent's enabled rule")
    expect(state(other, reservation), 0x0221, "the reservation afterwards")


@case("§4.2.3", "Another protocol than was reserved: 0x034D", "the code is listed, no section assigns it")
def protocol(world):
    agent = world.session()
    rule = reserved(agent).number(wire.PID)
    tuples = {"internal": world.internal(protocol=TCP), "external": world.external(protocol=TCP)}
    expect(pea(world, agent, rule, **tuples), 0x034D, "PEA")
    expect(state(agent, rule), 0x0221, "the reservation afterwards")


@case("§8.4.1", "The tuples are checked as for PER: 0x034B, 0x034C, 0x0356, 0x0341",
      "PEA calls a range above one a wildcard and forgets bi-directional rules; as PER, since the same rule comes of it")
def tuples(world):
    agent = world.session()
    rule = reserved(agent).number(wire.PID)
    for code, what, how in (
        (0x034B, "A3 first", {"internal": world.internal().at(EXTERNAL)}),
        (0x034B, "protocols that differ", {"external": world.external(protocol=TCP)}),
        (0x034B, "ranges that differ", {"external": world.external(30000, 2)}),
        (0x034B, "a wildcard both ways", {"direction": wire.BOTH}),
        (0x034C, "any inside port", {"internal": world.internal(0)}),
        (0x0356, "a range of 0", {"internal": world.internal(ports=0)}),
        (0x0341, "a denied address", {"internal": world.internal(network=world.denied)}),
        (0x034A, "lifetime 0", {"seconds": 0}),
    ):
        expect(pea(world, agent, rule, **how), code, f"PEA with {what}")
        expect(state(agent, rule), 0x0221, f"the reservation after {what}")
    expect(pea(world, agent, rule), 0x0212, "a good PEA afterwards")


@case("§8.4.1", "A range above one is no wildcard that a middlebox could refuse as such", "as §8.3.1 and §8.8.2, against §8.4.1")
def ranges(world):
    agent = world.session()
    rule = reserved(agent, ports=16).number(wire.PID)
    expect(pea(world, agent, rule, internal=world.internal(ports=16)), 0x0212, "PEA of 16 ports")


@case("§8.4.2", "Fewer ports than were reserved may be enabled, not more: 0x034B", "§8.4 does not compare the two numbers")
def fewer_and_more(world):
    agent = world.session()
    rule = reserved(agent, ports=2).number(wire.PID)
    expect(pea(world, agent, rule, internal=world.internal(ports=3)), 0x034B, "PEA of three ports")
    expect(pea(world, agent, rule, internal=world.internal(ports=1)), 0x0212, "PEA of one port")


@case("§8.4.1", "The PID is looked at before the tuples, and those before the lifetime")
def order_of_checks(world):
    agent = world.session()
    wrong = {"internal": world.internal(0), "seconds": 0}
    expect(pea(world, agent, 0xFFFFFFFF, **wrong), 0x0343, "everything wrong")
    rule = reserved(agent).number(wire.PID)
    expect(pea(world, agent, rule, **wrong), 0x034C, "port and lifetime wrong")


@case("§8.4.1", "Granted is at most what was asked for and at most the maximum; the reservation's own does not matter")
def lifetimes(world):
    agent = world.session()
    top = agent.capabilities.lifetime_max
    for asked in (30, 60, 600, top + 1):
        rule = reserved(agent, seconds=60).number(wire.PID)
        granted = expect(pea(world, agent, rule, seconds=asked), 0x0212, "PEA").number(wire.LIFETIME)
        holds(0 < granted <= min(asked, top), f"granted {granted} of {asked}")


@case("§8.4.1, §8.3.1", "Wildcards as in PER: any outside port, any outside address", needs="external wildcards")
def wildcards(world):
    agent = world.session()
    for external in (world.external(), world.external(network="0.0.0.0/0"), AddressTuple.protocols_only(EXTERNAL, 1)):
        rule = reserved(agent).number(wire.PID)
        expect(pea(world, agent, rule, external=external), 0x0212, "PEA")


@case("§8.4.2", "After PEA the rule lives its own life: PLC, PLC zero")
def afterwards(world):
    agent = world.session()
    rule = reserved(agent).number(wire.PID)
    expect(pea(world, agent, rule), 0x0212, "PEA")
    expect(agent.ask(wire.PLC, pid(rule), lifetime(50)), 0x0215, "PLC")
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
    expect(pea(world, agent, rule), 0x0343, "PEA on a rule that is gone")
