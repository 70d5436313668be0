"""The capabilities attribute: RFC 4540 §4.3.3. That they are true is what the other files show."""

import wire
from case import case
from peer import holds, same


@case("§4.3.3", "The middlebox says what it is: a packet filter, and the NAT bits only with 0x40")
def kind(world):
    has = world.session().capabilities
    holds(has.firewall, f"packet filter: {has.kind:#04x}")
    holds(has.nat or not has.kind & 0x07, f"translation without NAT: {has.kind:#04x}")
    same(has.kind & 0x28, 0, "reserved bits of MB type")


@case("§4.3.3", "IIV and EIV say which IP versions there are inside and outside")
def versions(world):
    has = world.session().capabilities
    same((has.inside, has.outside), tuple(world.versions), "IIV, EIV")


@case("§4.3.3", "The reserved field is zero, and the maximum lifetime is the one that is granted")
def lifetime_max(world):
    agent = world.session()
    has = agent.capabilities
    same(has.reserved, 0, "the reserved field")
    same(has.lifetime_max, world.lifetime_max, "the maximum lifetime")
    answer = agent.ask(wire.PRR, wire.prr_set(), wire.lifetime(0xFFFFFFFF))
    same(answer.number(wire.LIFETIME), has.lifetime_max, "the lifetime granted to whoever asks for the longest")


@case("§4.3.3", "Every session is told the same, by SE and by SA")
def always_the_same(world):
    has = world.session().capabilities
    agent = world.agent()
    agent.ask(wire.SE, wire.version(), (wire.CHALLENGE, b"?"))
    told = wire.Capabilities.decode(agent.ask(wire.SA).value(wire.CAPABILITIES))
    same(told, has, "capabilities after SA")
    same(world.session("other").capabilities, has, "capabilities of the other agent")
