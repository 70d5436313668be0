"""What is enabled passes and nothing else: RFC 4540 §8.3.2, §8.4.2, §8.5, seen with packets on a real kernel."""

import itertools

import wire
from case import case, enabled, reserved
from peer import expect, same
from wire import BOTH, INBOUND, OUTBOUND, TCP, lifetime, pid

NUMBERS = itertools.count(1)


class Network:
    """Two posts, one on each side, and a rule for the packets that say: all before me have had their time."""

    def __init__(self, world, agent):
        self.world, self.agent = world, agent
        self.sides = {"inside": world.post("inside"), "outside": world.post("outside")}
        self.home = {"inside": world.inside, "outside": world.outside}
        internal, external = world.internal(32000), world.external(32000)
        enabled(agent, world, internal=internal, external=external, direction=BOTH)

    def passes(self, sender, port, to_port, receiver_home=None, sender_home=None):
        """Whether a packet from one side's port reaches the other side's port."""
        receiver = "outside" if sender == "inside" else "inside"
        source = sender_home or self.home[sender]
        target = receiver_home or self.home[receiver]
        text, last = f"packet {next(NUMBERS)}", f"last {next(NUMBERS)}"
        self.sides[receiver].do("hear", at=[target, to_port])
        self.sides[receiver].do("hear", at=[self.home[receiver], 32000])
        self.sides[sender].do("send", source=[source, port], to=[target, to_port], text=text)
        for _ in range(2):
            self.sides[sender].do("send", source=[self.home[sender], 32000], to=[self.home[receiver], 32000], text=last)
            self.sides[receiver].do("until", at=[self.home[receiver], 32000], text=last)
        return text in self.sides[receiver].do("heard", at=[target, to_port])


def pattern(network, port, other):
    """Which ways packets pass between an inside port and an outside port."""
    return (network.passes("outside", other, port), network.passes("inside", port, other))


@case("§8.3.2", "The direction is considered: inbound, outbound and bi-directional rules let pass what they say, nothing else")
def directions(world):
    agent = world.session()
    network = Network(world, agent)
    same(pattern(network, 20000, 30000), (False, False), "passes before any rule: in, out")
    for direction, ways in ((INBOUND, (True, False)), (OUTBOUND, (False, True)), (BOTH, (True, True))):
        external = world.external(30000)
        rule = enabled(agent, world, external=external, direction=direction).number(wire.PID)
        same(pattern(network, 20000, 30000), ways, f"direction {direction}: in, out")
        same(pattern(network, 20001, 30000), (False, False), "the next inside port")
        same(pattern(network, 20000, 30001), (False, False), "the next outside port")
        expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
        same(pattern(network, 20000, 30000), (False, False), "after PRD: in, out")


@case("§8.3.1, §8.3.2", "A range enables each of its ports, port by port, and not the one before or behind it (RFC 5189 §2.3.6)")
def ranges(world):
    agent = world.session()
    network = Network(world, agent)
    internal, external = world.internal(20001, 3), world.external(30001, 3)
    enabled(agent, world, internal=internal, external=external, direction=BOTH)
    for offset in range(-1, 4):
        ways = (True, True) if 0 <= offset < 3 else (False, False)
        same(pattern(network, 20001 + offset, 30001 + offset), ways, f"port {offset} of the range")
    same(pattern(network, 20001, 30002), (False, False), "crossed ports")


@case("§8.3.1, §8.3.2", "An outside port or address that is wild lets every one pass, and only to the port inside")
def wildcards(world):
    agent = world.session()
    network = Network(world, agent)
    enabled(agent, world, internal=world.internal(20000, 2))
    enabled(agent, world, internal=world.internal(21000), external=world.external(network="0.0.0.0/0"))
    for port in (1024, 5004, 30000, 65535):
        same(network.passes("outside", port, 20000), True, f"from port {port}")
        same(network.passes("outside", port, 20001), True, f"from port {port} to the second port")
        same(network.passes("outside", port, 20002), False, f"from port {port} to the next port")
    other = world.other
    same(network.passes("outside", 30000, 20000, sender_home=other), False, "from another host")
    same(network.passes("outside", 30000, 21000, sender_home=other), True, "from another host to who hears all")


@case("§8.4.2", "A reservation lets nothing pass on a firewall; PEA enables it", needs="no NAT")
def after_reservation(world):
    agent = world.session()
    network = Network(world, agent)
    rule = reserved(agent).number(wire.PID)
    same(pattern(network, 20000, 30000), (False, False), "reserved: in, out")
    expect(agent.ask(wire.PEA, *world.per(more=[pid(rule)])), 0x0212, "PEA")
    same(pattern(network, 20000, 30000), (True, False), "enabled: in, out")


@case("§8.5, §8.9", "When the lifetime has ended, as ARE says, nothing passes any more")
def expiry(world):
    agent = world.session()
    network = Network(world, agent)
    # Long enough for the first packet on a machine with other things to do.
    rule = enabled(agent, world, seconds=12).number(wire.PID)
    same(network.passes("outside", 30000, 20000), True, "while it lives")
    while True:
        notice = expect(agent.notice(), 0x0403, "ARE")
        if (notice.number(wire.PID), notice.number(wire.LIFETIME)) == (rule, 0):
            break
    same(network.passes("outside", 30000, 20000), False, "after ARE")


@case("§8.1", "Two rules for the same packets: they pass until the last of them has ended")
def two_rules(world):
    agent = world.session()
    network = Network(world, agent)
    first, second = (enabled(agent, world).number(wire.PID) for _ in range(2))
    for rule, passes in ((first, True), (second, False)):
        expect(agent.ask(wire.PLC, pid(rule), lifetime(0)), 0x0216, "PLC zero")
        same(network.passes("outside", 30000, 20000), passes, f"after the end of rule {rule}")


@case("§4.3.8, §8.3.2", "IPv6 packets pass by rules for IPv6")
def ipv6(world):
    agent = world.session()
    network = Network(world, agent)
    homes = {"receiver_home": world.inside_v6, "sender_home": world.outside_v6}
    # A new address is nobody's until the kernel has asked around (RFC 4862 §5.4).
    enabled(agent, world, internal=world.internal(22000, network=world.inside_v6), external=world.external(network=world.outside_v6))
    while not network.passes("outside", 30000, 22000, **homes):
        pass
    same(network.passes("outside", 30000, 20000, **homes), False, "before")
    internal, external = world.internal(network=world.inside_v6), world.external(network=world.outside_v6)
    enabled(agent, world, internal=internal, external=external)
    same(network.passes("outside", 30000, 20000, **homes), True, "enabled")
    same(network.passes("outside", 30000, 20000), False, "IPv4 with the same ports")


@case("§8.3.2", "A rule for TCP lets the first segment come from where its direction says (RFC 5189 §2.3.5)")
def tcp(world):
    agent = world.session()
    network = Network(world, agent)
    inside, outside = network.sides["inside"], network.sides["outside"]
    inside.do("listen", at=[world.inside, 20000])
    enabled(agent, world, internal=world.internal(protocol=TCP), external=world.external(protocol=TCP))
    same(outside.do("call", source=[world.outside, 0], to=[world.inside, 20000], text="hello"), "hello", "an echo over TCP")
