"""The agent's session: RFC 4540 §4.2, §5.2, §7; and a call while there is none (docs/calls.md §6, unreachable)."""

import wire
from box import reply
from case import case
from peer import holds, same
from wire import Message, NEGATIVE, NOTIFICATION, version


def lost(stage):
    """Ends the session, so that the agent has to open another."""
    stage.box.link.close()


def unreachable(stage, what="no session with the middlebox"):
    """A call without a session: refused at once, and B hears nothing."""
    stage.refused(stage.dial(), 504, f"firewall unreachable: {what}, stream 1", retry=False)
    stage.silent(stage.b)


@case("§5.2.1, §7.2", "The agent opens with SE and version 3.0, and says nothing else before it is answered")
def establishes(stage):
    waiting = []
    stage.box.plan(wire.SE, lambda link, message: waiting.append((link, message)))
    lost(stage)
    se = stage.asked(wire.SE, 30)
    same((se.types(), se.value(wire.VERSION)), ([wire.VERSION], version()[1]), "SE")
    unreachable(stage)
    same([message.sub for message in stage.box.asked], [], "requests before the SE reply")
    stage.box.answer(*waiting[0])
    stage.whole_call()


@case("§5.2.3, §5.2.4, §7.1", "A challenge is answered by SA with a token; then the session opens and calls go through")
def challenged(stage):
    def challenge(link, message):
        link.state = "NOAUTH"
        link.write(reply(message, wire.SA, (wire.CHALLENGE, b"prove it")))

    stage.box.plan(wire.SE, challenge)
    lost(stage)
    sa = stage.asked(wire.SA, 30)
    same(sa.types(), [wire.TOKEN], "attributes of SA")
    stage.up()
    stage.whole_call()


def refuse_once(stage, code):
    def refuse(link, message):
        more = [version(2, 0)] if code == 0x22 else []
        link.write(Message(NEGATIVE, code, message.tid, more).encode())
        link.close()

    stage.box.deaf()
    lost(stage)
    unreachable(stage)
    stage.box.asked.clear()
    stage.box.plan(wire.SE, refuse)
    stage.box.listen()
    stage.asked(wire.SE, 30)


@case("§5.2.6, §7.2", "Whatever refuses SE, the agent comes back later; until then calls are refused as unreachable",
      "0x0322 names another version; the agent speaks 3.0 only and tries that again")
def refused(stage):
    for code in (0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x12):
        refuse_once(stage, code)
        se = stage.asked(wire.SE, 30)
        same(se.value(wire.VERSION), version()[1], f"SE after {code:#04x}")
        stage.up()
    stage.whole_call()


@case("§7.3", "SA refused with 0x0323: the agent comes back later")
def authentication_failed(stage):
    def challenge(link, message):
        link.state = "NOAUTH"
        link.write(reply(message, wire.SA, (wire.CHALLENGE, b"prove it")))

    def refuse(link, message):
        link.write(Message(NEGATIVE, 0x23, message.tid).encode())
        link.close()

    stage.box.plan(wire.SE, challenge)
    stage.box.plan(wire.SA, refuse)
    lost(stage)
    stage.asked(wire.SA, 30)
    stage.up()
    stage.whole_call()


@case("§5.2.7, §7.5", "AST ends the session and no call: the agent comes back, and the call can end with its rules closed")
def terminated(stage):
    ours, _ = stage.connect()
    stage.box.notify(wire.AST)
    stage.box.link.close()
    stage.up()
    stage.hang_up(ours)


@case("§5.2.7, §7.5", "AST with a request still open: that call is refused as unreachable")
def terminated_with_a_request(stage):
    stage.box.plan(wire.PER, lambda link, message: (stage.box.notify(wire.AST), link.close()))
    stage.refused(stage.dial(), 504, "firewall unreachable: the session ended before the reply, stream 1", retry=False)
    stage.silent(stage.b)


@case("§5.1.1, §4.2.5", "BFM cannot be tied to a request: every open one fails, and the session is over")
def badly_formed(stage):
    stage.box.plan(wire.PER, lambda link, message: stage.box.notify(wire.BFM))
    stage.refused(stage.dial(), 504, "firewall unreachable: the session ended before the reply, stream 1")
    stage.silent(stage.b)


@case("§7.6", "The connection breaks, also in the middle of a message: open requests fail, calls live on")
def interrupted(stage):
    ours, _ = stage.connect()
    half = Message(NOTIFICATION, wire.ARE, 77, [wire.pid(1), wire.lifetime(0)]).encode()[:13]
    stage.box.link.write(half)
    stage.box.link.close()
    stage.up()
    stage.hang_up(ours)
    stage.box.plan(wire.PER, lambda link, message: (link.write(half[:5]), link.close()))
    stage.refused(stage.dial(), 504, "firewall unreachable: the session ended before the reply, stream 1")


@case("§7.6", "With nobody at the other end calls are refused at once, and go through when there is somebody again")
def nobody_there(stage):
    stage.box.deaf()
    lost(stage)
    unreachable(stage)
    stage.box.listen()
    stage.up()
    stage.whole_call()


@case("RFC 5189 §2.2.4, §8.6, §8.7", "After a reconnect the agent lists its rules, and ends those that no call of its owns")
def reconciles(stage):
    ours, _ = stage.connect()
    kept = sorted(stage.box.rules)
    lost_rule = 4711
    stage.box.rules[lost_rule] = {**stage.box.rules[kept[0]], "group": 4711}
    stage.box.asked.clear()
    lost(stage)
    stage.asked(wire.PRL, 30)
    stage.until("the rule of nobody is ended", lambda: lost_rule not in stage.box.rules)
    same(sorted(stage.box.rules), kept, "rules of the call")
    stage.hang_up(ours)


@case("§7.6, RFC 5189 §2.2.4", "A middlebox that has forgotten its rules is told them again, and the call goes on")
def made_again(stage):
    ours, _ = stage.connect()
    wanted = len(stage.box.rules)
    stage.box.rules.clear()
    lost(stage)
    stage.until("the rules are made again", lambda: len(stage.box.rules) == wanted, 30)
    stage.silent(stage.a)
    stage.hang_up(ours)


@case("§4.2.5", "Many requests, and never the same TID twice in a session")
def many_tids(stage):
    for _ in range(10):
        stage.whole_call()
    holds(len(stage.box.link.tids) > 40, "many requests in one session")
