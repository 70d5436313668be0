"""Reservations by an agent: RFC 4540 §5.3.2, §5.3.4, §8.2, §8.4; an agent with `reserve = true` (docs/calls.md §5)."""

import wire
from case import case
from peer import holds, same
from phone import sdp
from stage import MEDIA_B


@case("§5.3.2, §5.3.4, §8.4", "The agent reserves before the callee hears of the call, and enables the same PID on the answer")
def reserves(stage):
    ours, _ = stage.connect()
    prr = stage.asked(wire.PRR)
    octets = prr.value(wire.PRR_SET)
    same((octets[0] >> 6 in (1, 2), octets[1], int.from_bytes(octets[2:], "big")), (True, wire.UDP, 2), "the PRR set")
    pea = stage.asked(wire.PEA)
    holds(pea.number(wire.PID) in stage.box.rules, "PEA names the reservation")
    stage.hang_up(ours)


@case("§5.3.18, §8.2.1", "A refused reservation: A is told by class, and B never hears of the call")
def refused(stage):
    for code, status, text, retry in (
        (0x0341, 403, "firewall policy", False), (0x0342, 500, "firewall failure", True), (0x0344, 500, "firewall failure", True),
        (0x0347, 403, "firewall policy", False), (0x0348, 500, "firewall failure", True), (0x0349, 500, "firewall failure", True),
        (0x034A, 500, "firewall failure", True), (0x034E, 500, "firewall failure", True), (0x034F, 500, "firewall failure", True),
        (0x0354, 500, "firewall failure", True),
    ):
        stage.box.plan(wire.PRR, code, 2 if code == 0x0344 else 1)
        stage.refused(stage.dial(), status, f"{text}: ", retry)
        stage.silent(stage.b)
        stage.until("nothing is left", lambda: not stage.box.rules)


@case("§8.4.1", "PEA that is answered 0x0343 is tried once more as PER", "the reservation is gone: its lifetime was over")
def reservation_gone(stage):
    def forget(link, message):
        stage.box.rules.pop(message.number(wire.PID))
        stage.box.answer(link, message)

    stage.box.plan(wire.PEA, forget)
    ours, _ = stage.connect()
    stage.asked(wire.PEA)
    stage.hang_up(ours)


@case("§8.4.1", "PEA that is refused: as for PER, A is told, B gets ACK and BYE with Reason, reservation and rule end")
def enable_refused(stage):
    for code, status, text in ((0x0341, 403, "firewall policy"), (0x0350, 500, "firewall temporarily closed"), (0x034D, 500, "firewall failure")):
        ours = stage.dial()
        invite = stage.hears(stage.b, "INVITE")
        stage.box.plan(wire.PEA, code)
        stage.b.respond(invite, 200, sdp(*MEDIA_B), "b1")
        stage.refused(ours, status, f"{text}: ")
        stage.told_off(status, text)
        stage.until("nothing is left", lambda: not stage.box.rules)


@case("§8.5, §8.9", "A reservation that the middlebox ends while the callee rings is made again")
def reserved_again(stage):
    ours = stage.dial()
    invite = stage.hears(stage.b, "INVITE")
    stage.b.respond(invite, 180, tag="b1")
    stage.hears(stage.a, "180 INVITE")
    reservation = next(rule for rule, what in stage.box.rules.items() if what["request"].sub == wire.PRR)
    stage.box.asked.clear()
    stage.box.are(reservation, 0)
    stage.asked(wire.PRR)
    stage.b.respond(invite, 200, sdp(*MEDIA_B), "b1")
    stage.a.accept(ours, stage.hears(stage.a, "200 INVITE"))
    stage.hears(stage.b, "ACK")
    stage.hang_up(ours)
