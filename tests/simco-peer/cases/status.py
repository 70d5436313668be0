"""Status and lists: RFC 4540 §5.3.6, §5.3.7, §5.3.13, §5.3.14, §5.3.16, §8.6 and §8.7."""

import wire
from case import case, enabled, listed, reserved, state
from peer import expect, holds, same
from wire import BOTH, EXTERNAL, OUTBOUND, AddressTuple, lifetime, pid


@case("§5.3.13, §8.6", "PRS of a reservation: the attributes of its PRR reply with what is left of the lifetime, and the owner",
      "on a firewall the IP version of A2 is the middlebox's own: no address is assigned")
def of_a_reservation(world):
    agent = world.session()
    made = reserved(agent, seconds=100, outside=1)
    answer = expect(state(agent, made.number(wire.PID)), 0x0221, "PRS")
    same(answer.types(), made.types() + [wire.OWNER], "attributes")
    for kind in (wire.PID, wire.GID):
        same(answer.number(kind), made.number(kind), wire.ATTRIBUTES[kind])
    fields = lambda one: (one.location, one.network, one.port, one.ports, one.protocol, one.prefix)
    same([fields(one) for one in answer.tuples()], [fields(one) for one in made.tuples()], "tuples but for the version")
    holds(98 <= answer.number(wire.LIFETIME) <= 100, f"{answer.number(wire.LIFETIME)} s are left of 100")
    holds(0 < len(answer.value(wire.OWNER)) <= 255, "an owner")


@case("§5.3.14, §8.6", "PRS of an enable rule is answered by PES with what request and reply of PER said, and the owner")
def of_an_enable_rule(world):
    agent = world.session()
    exact = {"internal": world.internal(ports=2), "external": world.external(30000, 2)}
    ways = [({"direction": wire.INBOUND, "parity": 3, **exact}), ({"direction": BOTH, **exact}),
            ({"direction": OUTBOUND, "internal": world.internal(0), "external": world.external(30000)})]
    if agent.capabilities.external_wildcards:
        ways.append({"external": world.external(network="0.0.0.0/0")})
        ways.append({"external": AddressTuple.protocols_only(EXTERNAL, 1)})
        ways.append({"internal": world.internal(network=world.inside_v6), "external": world.external(network="::/0")})
    for how in ways:
        asked = world.per(seconds=100, **how)
        made = expect(agent.ask(wire.PER, *asked), 0x0212, "PER")
        answer = expect(state(agent, made.number(wire.PID)), 0x0223, "PRS")
        same(answer.types(), [wire.PID, wire.GID, wire.PER_SET] + [wire.TUPLE] * 4 + [wire.LIFETIME, wire.OWNER], "attributes")
        for kind in (wire.PID, wire.GID):
            same(answer.number(kind), made.number(kind), wire.ATTRIBUTES[kind])
        same(answer.value(wire.PER_SET), asked[0][1], "the PER set")
        values = [value.hex(" ") for kind, value in answer.attributes if kind == wire.TUPLE]
        outside, inside = (value.hex(" ") for kind, value in made.attributes if kind == wire.TUPLE)
        internal, external = asked[1][1].hex(" "), asked[2][1].hex(" ")
        same(values, [internal, inside, outside, external], "A0, A1, A2, A3 in octets")
        holds(98 <= answer.number(wire.LIFETIME) <= 100, "what is left")


@case("§8.6", "After PEA the status is that of the PEA request and its reply")
def after_pea(world):
    agent = world.session()
    rule = reserved(agent).number(wire.PID)
    asked = world.per(seconds=50, more=[pid(rule)], parity=3)
    made = expect(agent.ask(wire.PEA, *asked), 0x0212, "PEA")
    answer = expect(state(agent, rule), 0x0223, "PRS")
    same(answer.number(wire.GID), made.number(wire.GID), "GID")
    same(answer.value(wire.PER_SET), asked[0][1], "the PER set")
    same([answer.tuples()[0], answer.tuples()[3]], [world.internal(), world.external(ports=1)], "A0 and A3")


@case("§8.6", "A rule that does not exist: 0x0343; one of another agent: 0x0345")
def refused(world):
    other = world.session("other")
    rules = [enabled(other, world).number(wire.PID), reserved(other).number(wire.PID)]
    agent = world.session()
    expect(state(agent, 0xFFFFFFFF), 0x0343, "PRS of an unknown rule")
    for rule in rules:
        expect(state(agent, rule), 0x0345, "PRS of another agent's rule")


@case("§4.3.7, §8.6", "The owner is the agent, the same on each of its sessions, and another agent is another")
def owner(world):
    owners = []
    for who in ("own", "own", "other"):
        agent = world.session(who)
        owners.append(state(agent, reserved(agent).number(wire.PID)).value(wire.OWNER))
    same(owners[0], owners[1], "owners of two rules of one agent")
    holds(owners[0] != owners[2], "the owner of another agent's rule")


@case("§5.3.16, §8.7", "PRL lists the PIDs of the agent's rules, reserved and enabled; with none it has no attributes")
def rules(world):
    agent = world.session()
    same(listed(agent), [], "no rules")
    made = [reserved(agent).number(wire.PID), enabled(agent, world).number(wire.PID)]
    enabled(world.session("other"), world)
    same(sorted(listed(agent)), sorted(made), "rules of one of two agents")
    expect(agent.ask(wire.PLC, pid(made[0]), lifetime(0)), 0x0216, "PLC zero")
    same(listed(agent), made[1:], "rules after the end of one")


@case("§8.6, §8.7", "PRS and PRL change no rule")
def changes_nothing(world):
    agent = world.session()
    rule = reserved(agent, seconds=50).number(wire.PID)
    for _ in range(3):
        expect(state(agent, rule), 0x0221, "PRS")
        same(listed(agent), [rule], "rules")
    holds(not agent.notices, "nobody is notified")


@case("§8.7", "More rules than fit into 65,536 octets: 0x0313, and the session goes on; 8,191 fit",
      "65,536 octets with the header; the MTU of a stream is no limit of its messages")
def too_many(world):
    agent = world.session()
    tids = [agent.send(wire.PRR, wire.prr_set(), lifetime(600)) for _ in range(8192)]
    made = [expect(agent.reply(tid), 0x0211, "PRR").number(wire.PID) for tid in tids]
    expect(agent.ask(wire.PRL), 0x0313, "PRL of 8,192 rules")
    expect(agent.ask(wire.PLC, pid(made.pop()), lifetime(0)), 0x0216, "PLC zero")
    same(sorted(listed(agent)), sorted(made), "PRL of 8,191 rules")
    tids = [agent.send(wire.PLC, pid(rule), lifetime(0)) for rule in made]
    for tid in tids:
        expect(agent.reply(tid), 0x0216, "PLC zero")
