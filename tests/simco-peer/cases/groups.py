"""Groups, as far as SIMCO has them: RFC 4540 §4.3.5, §8.2 to §8.4; RFC 5189 §2.3.3 and §2.4."""

import wire
from case import case, enabled, reserved, state
from peer import expect, holds, same
from wire import gid, lifetime, pid, prr_set


@case("§8.2.2, §8.3.2", "A group ends with its last member (RFC 5189 §2.4): then its identifier gets 0x0344")
def ends_with_the_last(world):
    agent = world.session()
    first = reserved(agent)
    group = first.number(wire.GID)
    second = enabled(agent, world, more=[gid(group)])
    expect(agent.ask(wire.PLC, pid(first.number(wire.PID)), lifetime(0)), 0x0216, "PLC zero")
    third = reserved(agent, more=[gid(group)])
    for rule in (second, third):
        expect(agent.ask(wire.PLC, pid(rule.number(wire.PID)), lifetime(0)), 0x0216, "PLC zero")
    expect(agent.ask(wire.PRR, prr_set(), lifetime(60), gid(group)), 0x0344, "a group without members")


@case("§8.4.2", "PEA leaves the rule in its group, and PRS tells it")
def kept_by_pea(world):
    agent = world.session()
    group = reserved(agent).number(wire.GID)
    rule = reserved(agent, more=[gid(group)]).number(wire.PID)
    made = expect(agent.ask(wire.PEA, *world.per(more=[pid(rule)])), 0x0212, "PEA")
    same((made.number(wire.GID), state(agent, rule).number(wire.GID)), (group, group), "the group")


@case("§4.3.5", "A group belongs to the agent, not to its session, and lives as long as its rules")
def outlives_sessions(world):
    agent = world.session()
    group = enabled(agent, world).number(wire.GID)
    expect(agent.ask(wire.ST), 0x0203, "ST")
    again = world.session()
    same(reserved(again, more=[gid(group)]).number(wire.GID), group, "the group in the next session")


@case("§8.2.2", "Group identifiers are unique in the middlebox: two agents never get the same")
def unique(world):
    groups = []
    for who in ("own", "other"):
        agent = world.session(who)
        groups += [reserved(agent).number(wire.GID) for _ in range(5)]
    holds(len(set(groups)) == 10, f"ten groups: {groups}")


@case("§8.1", "A rule that could not be made leaves no group behind", "seen by trying the next identifiers")
def none_of_failures(world):
    agent = world.session()
    last = reserved(agent).number(wire.GID)
    expect(agent.ask(wire.PER, *world.per(seconds=0)), 0x034A, "PER with lifetime 0")
    for guess in range(last + 1, last + 4):
        expect(agent.ask(wire.PRR, prr_set(), lifetime(60), gid(guess)), 0x0344, f"group {guess}")
