"""Asynchronous rule events at an agent: RFC 4540 §5.3.19, §8.9; figure 8 of docs/calls.md."""

import wire
from case import case
from peer import holds, same


def calls_rules(stage):
    """The rules of the call, oldest first: the one towards A has been narrowed."""
    stage.until("narrowed", lambda: len(stage.box.rules) == 2 and not narrowing(stage))
    return sorted(stage.box.rules)


def narrowing(stage):
    """True while a rule of the call still has a wildcard of the inside network."""
    requests = [rule["request"] for rule in stage.box.rules.values()]
    return any(one.prefix < 32 for request in requests for one in request.tuples())


@case("§5.3.19, §8.9", "ARE with lifetime zero in a call: BYE with Reason to both phones, and the call's other rule is ended (figure 8)")
def revoked(stage):
    for which in (0, 1):
        stage.connect()
        stage.box.are(calls_rules(stage)[which], 0)
        for phone in (stage.a, stage.b):
            bye = stage.hears(phone, "BYE")
            phone.respond(bye, 200)
            holds(bye.get("Reason").startswith("SIP;cause=") and "firewall" in bye.get("Reason"), f"Reason {bye.get('Reason')}")
        stage.until("the other rule is closed", lambda: not stage.box.rules)


@case("§5.3.19, §8.9", "ARE with zero while the callee rings: A is refused, B gets CANCEL with Reason, nothing is left")
def revoked_while_ringing(stage):
    ours = stage.dial()
    invite = stage.hears(stage.b, "INVITE")
    stage.b.respond(invite, 180, tag="b1")
    stage.hears(stage.a, "180 INVITE")
    stage.box.are(sorted(stage.box.rules)[0], 0)
    response = final(stage)
    stage.a.acknowledge(ours, response)
    cancel = stage.hears(stage.b, "CANCEL")
    holds("firewall" in cancel.get("Reason"), f"Reason {cancel.get('Reason')}")
    stage.b.respond(cancel, 200)
    stage.b.respond(invite, 487, tag="b1")
    stage.hears(stage.b, "ACK")
    same(stage.box.rules, {}, "rules")


def final(stage):
    """The final response that A gets, whatever its code."""
    stage.until("a final response", lambda: [one for one in stage.a.heard if one.kind.endswith(" INVITE") and one.kind > "2"])
    return stage.a.heard.pop(0)


@case("§5.3.19, §8.9", "ARE with a lifetime above zero is a new deadline: the agent extends the rule in time")
def shortened(stage):
    ours, _ = stage.connect()
    rule = calls_rules(stage)[0]
    stage.box.asked.clear()
    stage.box.are(rule, 4)
    plc = stage.asked(wire.PLC)
    same(plc.number(wire.PID), rule, "the rule that is extended")
    holds(plc.number(wire.LIFETIME) > 4, "a longer lifetime")
    stage.hang_up(ours)


@case("§5.3.19", "ARE for a rule that the agent does not know, or of a call that is over, changes nothing")
def unknown(stage):
    ours, _ = stage.connect()
    for rule, seconds in ((0, 0), (0xFFFFFFFF, 0), (0xFFFFFFFF, 60)):
        stage.box.are(rule, seconds)
    stage.silent(stage.a)
    stage.silent(stage.b)
    stage.hang_up(ours)


@case("§5.3.19, §8.9", "ARE may overtake the reply to the request that made the rule", "§8.2.1 and others send it before the outcome is known")
def before_the_reply(stage):
    def answer(link, message):
        octets = stage.box.rule(message)
        rule = wire.decode(octets).number(wire.PID)
        stage.box.notify(wire.ARE, wire.pid(rule), wire.lifetime(600), link=link)
        link.write(octets)

    stage.box.plan(wire.PER, answer, 2)
    stage.whole_call()
