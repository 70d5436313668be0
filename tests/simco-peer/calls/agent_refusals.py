"""Every negative reply at both places of a call: RFC 4540 §4.2.3, §5.3.18; the classes of docs/calls.md §6."""

import wire
from box import EVERYTHING, NO_ADDRESS_WILDCARDS, refusal
from case import case
from peer import holds, same
from phone import sdp
from stage import MEDIA_B
from wire import REASONS

STATIC = {0x24, 0x41, 0x45, 0x46, 0x47, 0x51, 0x4C}
TEMPORARY = {0x50}
CODES = sorted(REASONS)


def told(code):
    """Status code, class and whether Retry-After comes with it."""
    if code in STATIC:
        return 403, "firewall policy", False
    if code in TEMPORARY:
        return 500, "firewall temporarily closed", True
    return 500, "firewall failure", True


def tries(code):
    """How often the agent asks: a group that is gone (0x0344), or a port that may not be wild (0x034C), is no reason to
    give up."""
    return 2 if code in (0x44, 0x4C) else 1


@case("§8.3.1", "A group that has ended meanwhile, 0x0344: the agent asks again without it, and the call goes through")
def group_gone(stage):
    def no_group(link, message):
        if wire.GID in message.types():
            return link.write(refusal(message, 0x0344))
        return stage.box.answer(link, message)

    stage.box.plan(wire.PER, no_group, 10)
    stage.whole_call()
    holds(any(wire.GID in message.types() for message in stage.box.asked), "a request with a group")


@case("§5.3.18, §4.2.3", "PER for the offer is refused: A is told by class with Warning, B never hears of the call (figure 4)",
      "0x034C and 0x0350 to a rule with a wildcard are no refusal of the call: the agent reserves instead (calls.md §2)")
def of_the_offer(stage):
    for code in CODES:
        if code in (0x4C, 0x50):
            continue
        status, text, retry = told(code)
        stage.box.plan(wire.PER, 0x0300 | code, tries(code))
        stage.refused(stage.dial(), status, f"{text}: ", retry)
        stage.silent(stage.b)
        same(stage.box.rules, {}, f"rules after {code:#04x}")


@case("§5.3.18, §4.2.3", "PER for the answer is refused: A is told by class, B gets ACK and BYE with Reason, the first rule ends (figure 5)")
def of_the_answer(stage):
    for code in CODES:
        status, text, retry = told(code)
        ours = stage.dial()
        invite = stage.hears(stage.b, "INVITE")
        stage.box.plan(wire.PER, 0x0300 | code, tries(code))
        stage.b.respond(invite, 180, tag="b1")
        stage.b.respond(invite, 200, sdp(*MEDIA_B), "b1")
        stage.hears(stage.a, "180 INVITE")
        stage.refused(ours, status, f"{text}: ", retry)
        stage.told_off(status, text)
        stage.until("the first rule is closed", lambda: not stage.box.rules)


@case("§4.2.3", "A code that no RFC defines is a failure of the firewall like any other")
def unknown_code(stage):
    for code in (0x0300, 0x0359, 0x03FF):
        stage.box.plan(wire.PER, code)
        stage.refused(stage.dial(), 500, f"firewall failure: unknown negative reply {code:#06x}, stream 1", True)


@case("§8.3.1, §2", "Wildcards refused, 0x034C or 0x0350: the agent reserves (PRR), lets B ring, and enables (PEA) on the answer")
def wildcards_refused(stage):
    for code in (0x034C, 0x0350):
        stage.box.plan(wire.PER, code)
        ours, _ = stage.connect()
        stage.asked(wire.PRR)
        pea = stage.asked(wire.PEA)
        holds(all(one.prefix == 32 for one in pea.tuples()), "PEA names hosts")
        stage.hang_up(ours)
        stage.box.asked.clear()


@case("§4.3.3", "A middlebox without address wildcards is never asked for one, and calls go through")
def no_address_wildcards(stage):
    stage.box.capabilities = NO_ADDRESS_WILDCARDS
    stage.box.link.close()
    stage.up()
    stage.whole_call()
    for message in stage.box.asked:
        if message.sub in (wire.PER, wire.PEA):
            holds(all(one.prefix == 32 for one in message.tuples()), f"a wildcard: {message}")
    stage.box.capabilities = EVERYTHING
    stage.box.link.close()


@case("§4.2.3, §8.3.1", "A middlebox that has no port ranges says 0x0356; the call is refused as a failure of the firewall")
def no_ranges(stage):
    def only_one(link, message):
        if any(one.ports > 1 for one in message.tuples()):
            return link.write(refusal(message, 0x0356))
        return stage.box.answer(link, message)

    stage.box.plan(wire.PER, only_one)
    stage.refused(stage.dial(), 500, "firewall failure: illegal number of subsequent ports, stream 1", True)
    stage.silent(stage.b)
