"""Reservations: RFC 4540 §4.3.9, §5.3.2, §5.3.9 and §8.2."""

import wire
from case import case, listed, reserved, state
from peer import expect, holds, same
from wire import OUTSIDE, TCP, UDP, gid, lifetime, pid, prr_set


@case("§5.3.9, §8.2.2", "A reservation is answered with PID, GID, lifetime and A2, in this order; A1 only by a twice NAT")
def reply(world):
    answer = reserved(world.session(), seconds=77)
    same(answer.types(), [wire.PID, wire.GID, wire.LIFETIME, wire.TUPLE], "attributes")
    same(answer.number(wire.LIFETIME), 77, "lifetime")


@case("§8.2.2", "On a pure firewall A2 is protocols only: prefix 0, the protocol asked for, location outside", needs="no NAT")
def outside_tuple(world):
    agent = world.session()
    for protocol in (UDP, TCP):
        (outside,) = reserved(agent, protocol=protocol, outside=1).tuples()
        same(outside, wire.AddressTuple.protocols_only(OUTSIDE, 1, protocol), "A2")


@case("§8.2.2", "The IP version of A2 is the IPo that was asked for; for IPo any it is one that exists",
      "§8.2.2 copies IPo, which may be 0, no version of a tuple (§4.3.8)", needs="no NAT")
def outside_version(world):
    agent = world.session()
    for asked, versions in ((1, (1,)), (2, (2,)), (0, (1, 2))):
        (outside,) = reserved(agent, outside=asked).tuples()
        holds(outside.version in versions, f"IPo {asked} gave version {outside.version}")


@case("§4.3.9", "Any number of ports from 1, and 0xFFFF for all of them, may be reserved on a pure firewall", needs="no NAT")
def numbers_of_ports(world):
    agent = world.session()
    for ports in (1, 2, 3, 64, 1000, 0xFFFE, 0xFFFF):
        reserved(agent, ports=ports)


@case("§4.3.9", "No ports is not valid: 0x0356", "no code is named for it; this one exists for nothing else")
def no_ports(world):
    agent = world.session()
    expect(agent.ask(wire.PRR, prr_set(0), lifetime(60)), 0x0356, "PRR of 0 ports")
    same(listed(agent), [], "rules")


@case("§4.3.9, §8.2.2", "On a pure firewall port parity and NAT mode change nothing",
      "NM 00 and 11 are undefined, and NM has no value for 'no NAT': a pure firewall ignores it", needs="no NAT")
def parity_and_mode(world):
    agent = world.session()
    for mode in (0, 1, 2, 3):
        for parity in (0, 1, 2):
            reserved(agent, mode=mode, parity=parity)


@case("§8.2.1", "A transport protocol that is not supported: 0x0354")
def protocol(world):
    agent = world.session()
    for number in (1, 50, 132, 255):
        expect(agent.ask(wire.PRR, prr_set(protocol=number), lifetime(60)), 0x0354, f"PRR for protocol {number}")
    reserved(agent, protocol=UDP)


@case("§4.3.9, §8.2.1", "Protocol 0 reserves an address without ports; a middlebox that has no such thing says 0x0354",
      needs="no NAT")
def address_only(world):
    expect(world.session().ask(wire.PRR, prr_set(protocol=0), lifetime(60)), 0x0354, "PRR for an address")


@case("§8.2.1", "Granted is at most what was asked for and at most the maximum of the capabilities")
def lifetimes(world):
    agent = world.session()
    top = agent.capabilities.lifetime_max
    for asked in (1, 2, 60, top - 1, top, top + 1, 0x7FFFFFFF, 0xFFFFFFFF):
        granted = reserved(agent, seconds=asked).number(wire.LIFETIME)
        holds(0 < granted <= min(asked, top), f"granted {granted} of {asked}")


@case("§8.2.1", "A lifetime of zero cannot be granted: 0x034A")
def lifetime_zero(world):
    agent = world.session()
    expect(agent.ask(wire.PRR, prr_set(), lifetime(0)), 0x034A, "PRR with lifetime 0")
    same(listed(agent), [], "rules")


@case("§8.2.2", "With a group identifier the rule joins the group, without one it gets a group of its own")
def groups(world):
    agent = world.session()
    first, second = reserved(agent), reserved(agent)
    holds(first.number(wire.GID) != second.number(wire.GID), "two groups")
    third = reserved(agent, more=[gid(first.number(wire.GID))])
    same(third.number(wire.GID), first.number(wire.GID), "the group that was named")


@case("§8.2.1", "A group that does not exist: 0x0344")
def unknown_group(world):
    agent = world.session()
    group = reserved(agent).number(wire.GID)
    for wrong in (0, group + 1000, 0xFFFFFFFF):
        expect(agent.ask(wire.PRR, prr_set(), lifetime(60), gid(wrong)), 0x0344, f"group {wrong}")


@case("§8.2.1", "A group of another agent: 0x0346")
def group_of_another(world):
    group = reserved(world.session("other")).number(wire.GID)
    agent = world.session()
    expect(agent.ask(wire.PRR, prr_set(), lifetime(60), gid(group)), 0x0346, "PRR into another agent's group")


@case("§8.2.1", "The group is looked at before the protocol, and that before the lifetime")
def order_of_checks(world):
    agent = world.session()
    expect(agent.ask(wire.PRR, prr_set(protocol=132), lifetime(0), gid(0xFFFFFFFF)), 0x0344, "everything wrong")
    expect(agent.ask(wire.PRR, prr_set(protocol=132), lifetime(0)), 0x0354, "protocol and lifetime wrong")


@case("§8.1", "A rule's PID is one that was unused, and no two rules have the same")
def fresh_pids(world):
    agent = world.session()
    rules = [reserved(agent).number(wire.PID) for _ in range(50)]
    same(len(set(rules)), 50, "different PIDs")
    same(sorted(listed(agent)), sorted(rules), "rules of PRL")


@case("§8.1", "PLC above zero leaves a reservation RESERVED, PLC zero ends it")
def states(world):
    agent = world.session()
    rule = reserved(agent).number(wire.PID)
    expect(agent.ask(wire.PLC, pid(rule), lifetime(30)), 0x0215, "PLC")
    expect(state(agent, rule), 0x0221, "PRS")
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
    expect(state(agent, rule), 0x0343, "PRS of a rule that is gone")
