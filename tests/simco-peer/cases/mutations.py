"""Messages with random mistakes: each has a defined answer, and harms neither its session nor another one."""

import random

import wire
from case import case, enabled, goes_on, listed, reserved
from peer import Failed, holds, same
from wire import Message, REQUEST, lifetime, pid, version


def good(world, dice, rules):
    """A request that is right, of any kind."""
    port = dice.randrange(20000, 20010)
    per = world.per(internal=world.internal(port), seconds=dice.choice((1, 60, 3600)))
    rule = pid(dice.choice(rules))
    return dice.choice((
        (wire.PRR, [wire.prr_set(dice.randrange(1, 5)), lifetime(60)]), (wire.PER, per),
        (wire.PEA, per + [rule]), (wire.PLC, [rule, lifetime(dice.choice((1, 60, 5000)))]), (wire.PRS, [rule]),
        (wire.PRL, []), (wire.PDR, [per[1], per[2], lifetime(1)]), (wire.SE, [version()]), (wire.SA, [(wire.TOKEN, b"x")]),
    ))


def mutate(dice, octets):
    """Some octets behind the header become others, are lost, or come twice; the length stays true."""
    head, body = bytearray(octets[:8]), bytearray(octets[8:])
    for _ in range(dice.randrange(1, 4)):
        way = dice.randrange(5)
        place = dice.randrange(len(body) + 1)
        if way == 0 and body:
            body[place % len(body)] = dice.randrange(256)
        elif way == 1 and body:
            body[place % len(body)] ^= 1 << dice.randrange(8)
        elif way == 2:
            del body[place:place + dice.randrange(1, 9)]
        elif way == 3:
            body[place:place] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 9)))
        else:
            body[place:place] = body[place:place + 16]
    if not dice.randrange(8):
        head[dice.randrange(2)] = dice.randrange(256)
    return bytes(head[:2]) + len(body).to_bytes(2, "big") + bytes(head[4:]) + bytes(body)


@case("§6, §8.1", "Ten thousand requests with random mistakes: one defined reply each, by TID, and the session goes on")
def in_a_session(world):
    dice = random.Random(4540)
    for round_ in range(20):
        agent, bystander = world.session(), world.session("other")
        kept = enabled(bystander, world, internal=world.internal(25000)).number(wire.PID)
        rules = [enabled(agent, world).number(wire.PID), reserved(agent).number(wire.PID), 0xFFFFFFFE]
        sent = {}
        for _ in range(500):
            sub, attributes = good(world, dice, rules)
            octets = mutate(dice, Message(REQUEST, sub, agent.next_tid(), attributes).encode())
            if octets[:2] == bytes([REQUEST, wire.ST]):
                continue
            sent[agent.tid] = octets
            agent.write(octets)
            if len(sent) % 50 == 0:
                goes_on(agent, f"round {round_}")
        for tid, octets in sent.items():
            answer = agent.reply(tid)
            holds(answer is not None, f"no reply to {octets.hex(' ')}")
            known = answer.basic == wire.POSITIVE or answer.sub in wire.REASONS
            holds(answer.basic in (wire.POSITIVE, wire.NEGATIVE) and known, f"{answer} to {octets.hex(' ')}")
        goes_on(agent, "the end")
        same(listed(bystander), [kept], "the rules of another agent")
        world.clear()


@case("§6", "Random octets without a session: a short answer and the end, and others are served")
def without_a_session(world):
    dice = random.Random(5189)
    bystander = world.session("other")
    for _ in range(300):
        agent = world.agent()
        octets = mutate(dice, Message(REQUEST, wire.SE, dice.randrange(1 << 32), [version()]).encode())
        if dice.randrange(2):
            octets = bytes(dice.randrange(256) for _ in range(dice.randrange(8, 60)))
        agent.write(octets)
        agent.finish()
        told = []
        try:
            while (message := agent.receive()) is not None:
                told.append(message)
        except Failed as error:
            raise Failed(f"{error}, after {octets.hex(' ')}") from None
        holds(len(told) <= 8, f"{len(told)} messages")
        agent.close()
        world.open_agents.remove(agent)
    goes_on(bystander, "noise of others")
