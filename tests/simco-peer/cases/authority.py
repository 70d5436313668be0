"""Several agents, each with rights of its own: RFC 4540 §5.3.1, §8.3.1, §8.8.2; RFC 5189 §2.1.5, §2.3.4."""

import wire
from case import case, enabled, listed, reserved, state
from peer import expect, same
from wire import lifetime, pid


@case("§5.3.1, §8.7", "An agent that may access every rule lists them all, and PRS tells whose they are", needs="a warden")
def sees_all(world):
    warden, owners = world.session("warden"), {}
    for who in ("own", "other"):
        agent = world.session(who)
        rule = enabled(agent, world).number(wire.PID)
        owners[rule] = state(agent, rule).value(wire.OWNER)
    same(sorted(listed(warden)), sorted(owners), "rules of all")
    for rule, owner in owners.items():
        same(state(warden, rule).value(wire.OWNER), owner, "the owner")


@case("§5.3.1, §8.9", "An agent that may access every rule hears of those of others", needs="a warden")
def hears_of_all(world):
    warden, agent = world.session("warden"), world.session()
    rule = reserved(agent, seconds=40).number(wire.PID)
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
    for seconds in (40, 0):
        notice = expect(warden.notice(), 0x0403, "ARE")
        same((notice.number(wire.PID), notice.number(wire.LIFETIME)), (rule, seconds), "ARE")


@case("§8.5, §8.9", "It may change and end them; the owner hears of it and stays the owner", needs="a warden")
def ends_others(world):
    warden, agent = world.session("warden"), world.session()
    rule = enabled(agent, world, seconds=60).number(wire.PID)
    owner = state(agent, rule).value(wire.OWNER)
    expect(warden.ask(wire.PLC, pid(rule), lifetime(50)), 0x0215, "PLC")
    same(state(agent, rule).value(wire.OWNER), owner, "the owner afterwards")
    expect(warden.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
    for seconds in (50, 0):
        notice = expect(agent.notice(), 0x0403, "ARE to the owner")
        same((notice.number(wire.PID), notice.number(wire.LIFETIME)), (rule, seconds), "ARE")
    expect(state(agent, rule), 0x0343, "PRS")


@case("§8.3.1, §8.2.1", "Each agent has its own bounds: networks, ports, number of rules and longest lifetime", needs="a warden")
def bounds(world):
    bound = world.session("bound")
    same(bound.capabilities.lifetime_max, 30, "the longest lifetime it is told")
    first = enabled(bound, world, internal=world.internal(20000), seconds=600)
    same(first.number(wire.LIFETIME), 30, "granted")
    expect(bound.ask(wire.PER, *world.per(internal=world.internal(20010))), 0x0341, "PER of a port beyond its own")
    elsewhere = world.internal(20000, network=world.inside_other)
    expect(bound.ask(wire.PER, *world.per(internal=elsewhere)), 0x0341, "PER of a host beyond its own")
    expect(bound.ask(wire.PER, *world.per()), 0x0342, "PER of one rule too many")
    enabled(world.session("other"), world, internal=elsewhere)
