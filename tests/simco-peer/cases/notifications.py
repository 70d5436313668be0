"""Asynchronous rule events: RFC 4540 §5.3.1, §5.3.19 and §8.9."""

import wire
from case import case, enabled, goes_on, reserved
from peer import expect, holds, same
from wire import lifetime, pid, prr_set, version


def heard(agent, rule, seconds, what):
    """The next notification is about this rule and this lifetime."""
    notice = expect(agent.notice(), 0x0403, what)
    same(notice.types(), [wire.PID, wire.LIFETIME], "attributes of ARE")
    same((notice.number(wire.PID), notice.number(wire.LIFETIME)), (rule, seconds), what)


def nothing(agent, what):
    goes_on(agent, what)
    holds(not agent.notices, f"{what}: {[str(notice) for notice in agent.notices]}")


@case("§5.3.19, §8.9", "Each other session that may access the rule hears of PRR, PER, PEA and PLC; the one that asked does not",
      "after success, always, never to the requester: §8.2.1 and others would send it before the outcome is known")
def of_others(world):
    agent, first, second = world.session(), world.session(), world.session()
    rule = reserved(agent, seconds=40).number(wire.PID)
    expect(agent.ask(wire.PEA, *world.per(seconds=50, more=[pid(rule)])), 0x0212, "PEA")
    other = enabled(agent, world, seconds=60, internal=world.internal(21000)).number(wire.PID)
    expect(agent.ask(wire.PLC, pid(rule), lifetime(70)), 0x0215, "PLC")
    expect(agent.ask(wire.PLC, pid(other), lifetime(0)), 0x0216, "PLC zero")
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
    for watcher in (first, second):
        for notice in ((rule, 40), (rule, 50), (other, 60), (rule, 70), (other, 0), (rule, 0)):
            heard(watcher, *notice, "events in their order")
        nothing(watcher, "six events")
    nothing(agent, "the requester")


@case("§5.3.1, §8.9", "An agent that may not access the rule hears nothing of it")
def not_of_strangers(world):
    other, agent = world.session("other"), world.session()
    rule = enabled(agent, world).number(wire.PID)
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
    nothing(other, "another agent's rule")


@case("§8.2.1, §8.9", "What fails is not notified, a lifetime of zero included")
def not_of_failures(world):
    agent, watcher = world.session(), world.session()
    expect(agent.ask(wire.PRR, prr_set(), lifetime(0)), 0x034A, "PRR with lifetime 0")
    expect(agent.ask(wire.PER, *world.per(seconds=0)), 0x034A, "PER with lifetime 0")
    expect(agent.ask(wire.PER, *world.per(internal=world.internal(network=world.denied))), 0x0341, "PER")
    expect(agent.ask(wire.PLC, pid(0xFFFFFFFF), lifetime(0)), 0x0343, "PLC")
    nothing(watcher, "failures")


@case("§8.9, §7.1", "Only sessions that are OPEN are notified")
def only_open(world):
    agent = world.session()
    closed, waiting = world.agent(), world.agent()
    expect(waiting.ask(wire.SE, version(), (wire.CHALLENGE, b"?")), 0x0202, "SE")
    reserved(agent)
    expect(waiting.ask(wire.SA), 0x0201, "SA")
    expect(closed.ask(wire.SE, version()), 0x0201, "SE")
    for late in (closed, waiting):
        nothing(late, "a rule of before")
    rule = reserved(agent, seconds=33).number(wire.PID)
    for late in (closed, waiting):
        heard(late, rule, 33, "a rule of now")


@case("§8.9", "The lifetime of ARE is the one that was granted, not the one that was asked for")
def granted(world):
    agent, watcher = world.session(), world.session()
    top = agent.capabilities.lifetime_max
    rule = reserved(agent, seconds=0xFFFFFFFF).number(wire.PID)
    heard(watcher, rule, top, "PRR")
    expect(agent.ask(wire.PLC, pid(rule), lifetime(0xFFFFFFFF)), 0x0215, "PLC")
    heard(watcher, rule, top, "PLC")
