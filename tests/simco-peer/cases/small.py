"""A middlebox with little: two rules an agent, IPv4 only, the whole outside denied to reservations."""

import wire
from case import case, enabled, listed, reserved
from peer import expect, holds, same
from wire import gid, lifetime, pid, prr_set


@case("§4.2.3", "No room for another rule: 0x0342; when one has ended there is room again", "no section assigns the code")
def no_room(world):
    agent = world.session()
    rules = [enabled(agent, world).number(wire.PID), reserved(agent).number(wire.PID)]
    expect(agent.ask(wire.PER, *world.per()), 0x0342, "PER")
    expect(agent.ask(wire.PRR, prr_set(), lifetime(60)), 0x0342, "PRR")
    same(sorted(listed(agent)), sorted(rules), "rules")
    expect(agent.ask(wire.PEA, *world.per(more=[pid(rules[1])])), 0x0212, "PEA needs no room")
    enabled(world.session("other"), world)
    expect(agent.ask(wire.PLC, pid(rules[0]), lifetime(0)), 0x0216, "PLC zero")
    reserved(agent)


@case("§4.3.3, §8.2.1", "IPi and IPo that the middlebox does not have: 0x034F; the group is looked at first")
def ip_versions(world):
    agent = world.session()
    same(agent.capabilities.inside, 1, "IIV")
    expect(agent.ask(wire.PRR, prr_set(inside=2), lifetime(60)), 0x034F, "PRR with IPi 2")
    expect(agent.ask(wire.PRR, prr_set(inside=2, protocol=99), lifetime(60)), 0x034F, "before the protocol")
    expect(agent.ask(wire.PRR, prr_set(inside=2), lifetime(60), gid(0xFFFFFFFF)), 0x0344, "after the group")
    if not agent.capabilities.outside & 2:
        expect(agent.ask(wire.PRR, prr_set(outside=2), lifetime(60)), 0x034F, "PRR with IPo 2")
    reserved(agent, inside=1, outside=1)


@case("§8.2.1", "An address space that is wholly blocked: 0x0347")
def blocked(world):
    agent = world.session()
    expect(agent.ask(wire.PRR, prr_set(outside=2), lifetime(60)), (0x0347, 0x034F), "PRR for a blocked IP version")
    reserved(agent, outside=1)


@case("§8.3.1", "A network in which a host is denied cannot be opened as a whole: 0x034C",
      "support of wildcards is partial: the agent is to reserve and to name one host", needs="external wildcards")
def denied_within(world):
    agent = world.session()
    everybody = world.external(network="0.0.0.0/0")
    expect(agent.ask(wire.PER, *world.per(external=everybody)), 0x034C, "PER from everybody")
    expect(agent.ask(wire.PER, *world.per(external=world.external(network=world.denied))), 0x0341, "PER from who is denied")
    enabled(agent, world)


@case("§4.3.3, §8.2.1", "The maximum lifetime is the small one that the capabilities tell")
def lifetime_max(world):
    agent = world.session()
    same(agent.capabilities.lifetime_max, world.lifetime_max, "the maximum lifetime")
    made = reserved(agent, seconds=3600)
    same(made.number(wire.LIFETIME), world.lifetime_max, "granted")
    answer = agent.ask(wire.PLC, pid(made.number(wire.PID)), lifetime(3600))
    holds(answer.number(wire.LIFETIME) == world.lifetime_max, "granted by PLC")
