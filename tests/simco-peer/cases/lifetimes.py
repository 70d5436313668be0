"""Lifetimes and ends: RFC 4540 §5.3.5, §5.3.11, §5.3.12 and §8.5."""

import wire
from case import case, enabled, listed, reserved, state
from peer import expect, holds, same
from wire import lifetime, pid


@case("§5.3.11, §8.5", "PLC above zero is answered by PLC with the lifetime alone: at most what was asked for and the maximum")
def change(world):
    agent = world.session()
    top = agent.capabilities.lifetime_max
    for rule in (enabled(agent, world), reserved(agent)):
        for asked in (1200, 60, 1, top, top + 1, 0xFFFFFFFF):
            answer = agent.ask(wire.PLC, pid(rule.number(wire.PID)), lifetime(asked))
            expect(answer, 0x0215, f"PLC of {asked} s")
            same(answer.types(), [wire.LIFETIME], "attributes")
            granted = answer.number(wire.LIFETIME)
            holds(0 < granted <= min(asked, top), f"granted {granted} of {asked}")
            left = state(agent, rule.number(wire.PID)).number(wire.LIFETIME)
            holds(granted - 2 <= left <= granted, f"{left} s are left of {granted}")


@case("§5.3.12, §8.5", "PLC zero ends the rule and is answered by PRD without attributes; its PID is unused then")
def end(world):
    agent = world.session()
    for rule in (enabled(agent, world).number(wire.PID), reserved(agent).number(wire.PID)):
        answer = expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
        same(answer.attributes, [], "attributes of PRD")
        expect(state(agent, rule), 0x0343, "PRS")
        expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0343, "PLC zero again")
    same(listed(agent), [], "rules")


@case("§8.5", "A rule that does not exist: 0x0343")
def unknown(world):
    agent = world.session()
    for seconds in (0, 60):
        expect(agent.ask(wire.PLC, pid(0xFFFFFFFF), lifetime(seconds)), 0x0343, f"PLC of {seconds} s")


@case("§8.5", "A rule of another agent: 0x0345, and it lives on", "0x0351, not authorized to change lifetime, is assigned nowhere")
def of_another(world):
    other = world.session("other")
    rules = [enabled(other, world).number(wire.PID), reserved(other).number(wire.PID)]
    agent = world.session()
    for rule in rules:
        for seconds in (0, 60):
            expect(agent.ask(wire.PLC, pid(rule), lifetime(seconds)), 0x0345, f"PLC of {seconds} s")
    same(listed(other), rules, "the other agent's rules")


@case("§8.9", "A lifetime that ends ends the rule: ARE with zero to everyone, the owner included (RFC 5189 §2.3.13)")
def expiry(world):
    agent, watcher = world.session(), world.session()
    rules = {enabled(agent, world, seconds=2).number(wire.PID), reserved(agent, seconds=2).number(wire.PID)}
    for who in (agent, watcher):
        gone = set()
        while gone != rules:
            notice = expect(who.notice(), 0x0403, "ARE")
            if notice.number(wire.LIFETIME) == 0:
                gone.add(notice.number(wire.PID))
    for rule in rules:
        expect(state(agent, rule), 0x0343, "PRS of a rule whose time is up")
    same(listed(agent), [], "rules")


@case("§8.5", "A rule that is extended does not end when it would have, and ends when it says now")
def extended(world):
    agent = world.session()
    first = enabled(agent, world, seconds=10).number(wire.PID)
    expect(agent.ask(wire.PLC, pid(first), lifetime(600)), 0x0215, "PLC")
    second = enabled(agent, world, seconds=2, internal=world.internal(21000)).number(wire.PID)
    notice = expect(agent.notice(), 0x0403, "ARE")
    same((notice.number(wire.PID), notice.number(wire.LIFETIME)), (second, 0), "the rule that has ended")
    expect(state(agent, first), 0x0223, "the extended rule")
    expect(agent.ask(wire.PLC, pid(first), lifetime(1)), 0x0215, "PLC")
    same(agent.notice().number(wire.PID), first, "the rule that was shortened")
