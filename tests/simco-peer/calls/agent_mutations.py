"""Replies with random mistakes: the agent makes of each a call that goes on or one that is refused, and stays."""

import random

import wire
from case import case
from cases.mutations import mutate
from peer import holds
from wire import Message, NOTIFICATION

FINAL = {"403", "500", "504", "486"}


def outcome(stage):
    """Lets B decline if the call gets there; the final response that A gets."""
    call = stage.dial()

    def over():
        for invite in [one for one in stage.b.heard if one.kind == "INVITE"]:
            stage.b.heard.remove(invite)
            stage.b.respond(invite, 486, tag="b")
        return [one for one in stage.a.heard if one.kind.split()[0] in FINAL]

    final = stage.until("a final response", over)[0]
    stage.a.acknowledge(call, final)
    stage.a.heard, stage.b.heard = [], []
    return final.kind.split()[0]


@case("§4.3, §5.3.10", "A hundred replies with random mistakes: each call ends with a defined response, and the next one goes through")
def in_replies(stage):
    dice = random.Random(7626)
    for _ in range(100):
        stage.up()
        stage.box.plan(wire.PER, lambda link, message: link.write(mutate(dice, stage.box.rule(message))))
        outcome(stage)
        stage.box.plans = []
    stage.box.link and stage.box.link.close()
    stage.up()
    stage.whole_call()


@case("§5.3.19, §4.3", "Two hundred notifications with random mistakes in the middle of a call: the call goes on")
def in_notifications(stage):
    dice = random.Random(8996)
    ours, _ = stage.connect()
    for _ in range(200):
        stage.up()
        # A rule that is nobody's: what is right in the message ends no call.
        event = Message(NOTIFICATION, wire.ARE, 1, [wire.pid(dice.randrange(1 << 31, 1 << 32)), wire.lifetime(dice.randrange(3) * 60)])
        octets = mutate(dice, event.encode())
        link = stage.box.link
        link.write(octets)
        stage.sentinel()
        holds(not stage.a.heard and not stage.b.heard, f"{[one.kind for one in stage.a.heard + stage.b.heard]} after {octets.hex(' ')}")
    stage.up()
    stage.hang_up(ours)
