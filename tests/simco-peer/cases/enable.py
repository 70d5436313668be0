"""Enabling: RFC 4540 §4.3.8, §4.3.10, §5.3.3, §5.3.10 and §8.3."""

import wire
from case import case, enabled, goes_on, listed, reserved
from peer import expect, holds, same
from wire import BOTH, EXTERNAL, INBOUND, INSIDE, INTERNAL, OUTBOUND, OUTSIDE, TCP, AddressTuple, gid


def refused(world, agent, code, what, **how):
    expect(agent.ask(wire.PER, *world.per(**how)), code, f"PER with {what}")


@case("§5.3.10, §8.3.2", "PER is answered with PID, GID, lifetime, A2 and A1, in this order",
      "§8.3.3 leaves A1 out unless there is a twice NAT; §5.3.10 is the format")
def reply(world):
    answer = enabled(world.session(), world, seconds=88)
    same(answer.types(), [wire.PID, wire.GID, wire.LIFETIME, wire.TUPLE, wire.TUPLE], "attributes")
    same(answer.number(wire.LIFETIME), 88, "lifetime")


@case("§8.3.2", "On a pure firewall A2 is the A0 of the request, and A1 its A3",
      "'is reported as': with the locations outside and inside, which is where the reader looks", needs="no NAT")
def tuples(world):
    agent = world.session()
    for external in (world.external(), world.external(30000), world.external(network="0.0.0.0/0")):
        internal = world.internal()
        answer = enabled(agent, world, internal=internal, external=external)
        same(answer.tuples(), [internal.at(OUTSIDE), external.at(INSIDE)], "A2 and A1")


@case("§4.3.10", "Inbound, outbound and bi-directional rules are made")
def directions(world):
    agent = world.session()
    for direction, internal, external in (
        (INBOUND, world.internal(), world.external()),
        (OUTBOUND, world.internal(0), world.external(30000)),
        (BOTH, world.internal(), world.external(30000)),
    ):
        enabled(agent, world, direction=direction, internal=internal, external=external)


@case("§4.3.10, §8.3.2", "A pure firewall takes parity any and same, and ignores it", needs="no NAT")
def parity(world):
    agent = world.session()
    for parity in (0, 3):
        enabled(agent, world, parity=parity, internal=world.internal(20001))


@case("§4.3.8, §8.3.1", "A port range above one asks for as many consecutive ports; it is no wildcard")
def ranges(world):
    agent = world.session()
    for port in (20000, 20001, 20007):
        for ports in (1, 2, 3, 5, 16, 64):
            internal = world.internal(port, ports)
            (outside, _) = enabled(agent, world, internal=internal).tuples()
            same((outside.port, outside.ports), (port, ports), "ports of A2")
            enabled(agent, world, internal=internal, external=world.external(30000, ports), direction=BOTH)


@case("§4.3.8", "A port range of zero is refused: 0x0356", "no code is named for it; this one exists for nothing else")
def range_zero(world):
    agent = world.session()
    internal, external = world.internal(ports=0), world.external(ports=0)
    refused(world, agent, 0x0356, "ranges of 0", internal=internal, external=external)
    refused(world, agent, 0x0356, "a range of 0 inside", internal=internal, external=world.external(ports=1))


@case("§4.3.8", "A range that reaches beyond port 65535 is refused: 0x0356", "the RFC names no code for it")
def range_too_long(world):
    agent = world.session()
    for internal, external in ((world.internal(65535, 2), world.external(ports=2)),
                               (world.internal(20000, 2), world.external(65535, 2)),
                               (world.internal(1, 0xFFFF), world.external(2, 0xFFFF))):
        refused(world, agent, 0x0356, "ports beyond 65535", internal=internal, external=external)


@case("§8.3.1", "Port ranges that differ: 0x034B")
def ranges_differ(world):
    agent = world.session()
    refused(world, agent, 0x034B, "ranges 2 and 1", internal=world.internal(ports=2), external=world.external(30000, 1))
    refused(world, agent, 0x034B, "ranges 2 and 3", internal=world.internal(ports=2), external=world.external(30000, 3))


@case("§8.3.1", "Where a port is wild its range means nothing and may differ",
      "the check of equal ranges does not exempt it, but the range is 'irrelevant' three paragraphs on")
def range_of_a_wild_port(world):
    agent = world.session()
    for ports in (1, 7, 0xFFFF):
        enabled(agent, world, internal=world.internal(ports=2), external=world.external(0, ports))


@case("§8.3.1", "The first tuple must be internal and the second external: 0x034B")
def locations(world):
    agent = world.session()
    internal, external = world.internal(), world.external()
    for wrong in (INSIDE, OUTSIDE, EXTERNAL):
        refused(world, agent, 0x034B, f"location {wrong} first", internal=internal.at(wrong))
    for wrong in (INTERNAL, INSIDE, OUTSIDE):
        refused(world, agent, 0x034B, f"location {wrong} second", external=external.at(wrong))
    parameters, first, second, seconds = world.per()
    expect(agent.ask(wire.PER, parameters, second, first, seconds), 0x034B, "A3 before A0")


@case("§8.3.1", "Protocols that differ: 0x034B")
def protocols_differ(world):
    agent = world.session()
    refused(world, agent, 0x034B, "UDP and TCP", external=world.external(ports=1, protocol=TCP))
    refused(world, agent, 0x034B, "UDP and any", external=world.external(ports=1, protocol=0))


@case("§8.3.1, §4.2.3", "A protocol that the middlebox cannot do is refused: 0x0354", "§8.3.1 names no code; §8.2.1 does")
def protocol(world):
    agent = world.session()
    for number in (1, 50, 132):
        internal, external = world.internal(protocol=number), world.external(30000, protocol=number)
        refused(world, agent, 0x0354, f"protocol {number}", internal=internal, external=external)


@case("§8.3.1", "Protocol 0 is a wildcard of the transport protocol and of ports; one that is not supported: 0x034C",
      "the protocol wildcard implies one of ports; RFC 4540 has no capability bit for protocols")
def protocol_wildcard(world):
    agent = world.session()
    for direction in (INBOUND, OUTBOUND):
        internal, external = world.internal(protocol=0), world.external(30000, protocol=0)
        refused(world, agent, 0x034C, "protocol 0", internal=internal, external=external, direction=direction)


@case("§8.3.1", "External wildcards: any address, any port, protocols only; by the capabilities E and P", needs="external wildcards")
def external_wildcards(world):
    agent = world.session()
    holds(agent.capabilities.port_wildcards, "port wildcards")
    for external in (world.external(network="0.0.0.0/0"), AddressTuple.protocols_only(EXTERNAL, 1)):
        enabled(agent, world, external=external)
    enabled(agent, world, internal=world.internal(network=world.inside_v6), external=world.external(network="::/0"))


@case("§8.3.1", "In protocols only the prefix means nothing", needs="external wildcards")
def prefix_of_protocols_only(world):
    agent = world.session()
    for prefix in (0, 24, 32):
        enabled(agent, world, external=AddressTuple.protocols_only(EXTERNAL, 1, prefix=prefix))


@case("§8.3.1", "A wildcard that conflicts with what the middlebox supports: 0x034C",
      "support may be partial: a prefix that is not a whole realm network, or the receiving end, cannot be wild here")
def unsupported_wildcards(world):
    agent = world.session()
    for what, internal, external in (
        ("a part of the outside", world.internal(), world.external(network="198.51.100.0/25")),
        ("any inside address", world.internal(network=world.inside_network), world.external()),
        ("inside protocols only", AddressTuple.protocols_only(INTERNAL, 1), world.external()),
        ("any inside port", world.internal(0), world.external()),
        ("any outside address with one port", world.internal(), world.external(30000, network="0.0.0.0/0")),
    ):
        refused(world, agent, 0x034C, what, internal=internal, external=external)


@case("§8.3.1", "A bi-directional rule with a wildcard of address or port: 0x034B")
def wild_both_ways(world):
    agent = world.session()
    for what, internal, external in (
        ("any outside port", world.internal(), world.external()),
        ("any outside address", world.internal(), world.external(30000, network="0.0.0.0/0")),
        ("outside protocols only", world.internal(), AddressTuple.protocols_only(EXTERNAL, 1)),
        ("any inside port", world.internal(0), world.external(30000)),
    ):
        code = 0x034B if agent.capabilities.external_wildcards else (0x034B, 0x034C)
        refused(world, agent, code, f"{what} both ways", internal=internal, external=external, direction=BOTH)


@case("§4.3.8, §8.3.2", "IPv6 inside and outside")
def ipv6(world):
    agent = world.session()
    internal = world.internal(ports=2, network=world.inside_v6)
    external = world.external(30000, 2, network=world.outside_v6)
    answer = enabled(agent, world, internal=internal, external=external, direction=BOTH)
    same(answer.tuples(), [internal.at(OUTSIDE), external.at(INSIDE)], "A2 and A1")


@case("§4.2.3", "IPv4 inside and IPv6 outside: 0x034F where nothing translates", "§8.3.1 names no code for it", needs="no NAT")
def ip_versions_differ(world):
    agent = world.session()
    refused(world, agent, 0x034F, "IPv4 and IPv6", external=world.external(network=world.outside_v6))


@case("§4.2.3", "An address that no host can have is refused: 0x0353 or 0x0341", "§8.3.1 names no code for it")
def illegal_addresses(world):
    agent = world.session()
    for address in ("224.0.0.5", "255.255.255.255", "127.0.0.1", "0.0.0.0", "169.254.1.1"):
        refused(world, agent, (0x0353, 0x0341), address, external=world.external(network=address))
        refused(world, agent, (0x0353, 0x0341), address, internal=world.internal(network=address))


@case("§8.3.1", "What the agent may not open: 0x0341", "authority over single addresses and ports; §8.3.2 would have 0x034A")
def not_authorized(world):
    agent = world.session()
    refused(world, agent, 0x0341, "an inside address of nobody", internal=world.internal(network="10.99.0.1"))
    refused(world, agent, 0x0341, "a port that is not ours", internal=world.internal(5060))
    refused(world, agent, 0x0341, "the last port beyond ours", internal=world.internal(world.last_port, 2))
    refused(world, agent, 0x0341, "a denied address", internal=world.internal(network=world.denied))
    refused(world, agent, 0x0341, "both ends inside", external=world.external(network=world.inside_other))
    same(listed(agent), [], "rules")


@case("§8.3.1", "A lifetime of zero cannot be granted: 0x034A; otherwise at most what was asked for and the maximum")
def lifetimes(world):
    agent = world.session()
    refused(world, agent, 0x034A, "lifetime 0", seconds=0)
    same(listed(agent), [], "rules")
    top = agent.capabilities.lifetime_max
    for asked in (1, 60, top, top + 1, 0xFFFFFFFF):
        granted = enabled(agent, world, seconds=asked).number(wire.LIFETIME)
        holds(0 < granted <= min(asked, top), f"granted {granted} of {asked}")


@case("§8.3.2", "With a group identifier the rule joins the group, without one it gets a group of its own")
def groups(world):
    agent = world.session()
    first, second = enabled(agent, world), enabled(agent, world)
    holds(first.number(wire.GID) != second.number(wire.GID), "two groups")
    group = first.number(wire.GID)
    third = enabled(agent, world, internal=world.internal(22000), more=[gid(group)])
    same(third.number(wire.GID), group, "the group that was named")
    same(reserved(agent, more=[gid(group)]).number(wire.GID), group, "a reservation in the same group")


@case("§8.3.1", "A group that does not exist: 0x0344; one of another agent: 0x0346")
def wrong_groups(world):
    group = enabled(world.session("other"), world).number(wire.GID)
    agent = world.session()
    refused(world, agent, 0x0344, "an unknown group", more=[gid(0xFFFFFFFF)])
    refused(world, agent, 0x0346, "another agent's group", more=[gid(group)])


@case("§8.3.1", "The group is looked at before the tuples, those before wildcards, and those before the lifetime",
      "but locations and ranges of zero are found while reading, before the group")
def order_of_checks(world):
    agent = world.session()
    wrong = {"external": world.external(30000, 3), "internal": world.internal(0), "seconds": 0}
    refused(world, agent, 0x0344, "everything wrong", more=[gid(0xFFFFFFFF)], direction=BOTH, **wrong)
    internal, external = world.internal(), world.external(30000, 3)
    refused(world, agent, 0x034B, "range and lifetime wrong", internal=internal, external=external, seconds=0)
    refused(world, agent, 0x034C, "wildcard and lifetime wrong", internal=world.internal(0), seconds=0)


@case("§8.1", "A failed request changes nothing: no rule, no group, no PID")
def failed_request(world):
    agent = world.session()
    rule = enabled(agent, world).number(wire.PID)
    refused(world, agent, 0x0341, "a denied address", internal=world.internal(network=world.denied))
    same(listed(agent), [rule], "rules after a refusal")
    goes_on(agent, "a refusal")


@case("§8.1", "The same tuples twice make two rules; one may end without the other (RFC 5189 §2.3.9)")
def twice(world):
    agent = world.session()
    first, second = (enabled(agent, world).number(wire.PID) for _ in range(2))
    holds(first != second, "two PIDs")
    expect(agent.ask(wire.PLC, wire.pid(first), wire.lifetime(0)), 0x0216, "PLC zero")
    same(listed(agent), [second], "rules")


@case("§8.3, §4.3.8", "TCP rules are made like UDP rules")
def tcp(world):
    agent = world.session()
    for direction, internal, external in (
        (INBOUND, world.internal(protocol=TCP), world.external(protocol=TCP)),
        (OUTBOUND, world.internal(0, protocol=TCP), world.external(30000, protocol=TCP)),
    ):
        answer = enabled(agent, world, direction=direction, internal=internal, external=external)
        same(answer.tuples()[0].protocol, TCP, "the protocol of A2")
