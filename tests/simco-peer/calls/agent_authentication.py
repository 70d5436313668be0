"""The agent's side of challenge and token: RFC 4540 §7.2 and §7.3; what stands in them is in docs/simco.md."""

import os

import proof
import wire
from box import reply
from case import case
from calls.agent_sessions import lost, unreachable
from peer import holds, same
from wire import Message, NEGATIVE


@case("§5.2.1, §5.2.4", "An agent with a secret challenges the middlebox, and answers its challenge with a good token; calls go through")
def mutual(stage):
    lost(stage)
    se = stage.asked(wire.SE, 30)
    same(se.types(), [wire.VERSION, wire.CHALLENGE], "attributes of SE")
    challenge = se.value(wire.CHALLENGE)
    same(challenge[:8], proof.key_id(stage.box.secret), "key id in the challenge")
    holds(len(challenge) == 40, "32 random octets behind it")
    # The middlebox has checked the token: a wrong one would be in its list of wrong things.
    same(stage.asked(wire.SA, 30).types(), [wire.TOKEN], "attributes of SA")
    stage.up()
    stage.whole_call()


@case("§5.2.4, §7.2", "A middlebox that proves itself and asks for nothing gets an SA without a token")
def nothing_asked(stage):
    def only_token(link, message):
        link.state = "NOAUTH"
        token = proof.token(stage.box.secret, proof.MIDDLEBOX, message.value(wire.CHALLENGE), b"")
        link.write(reply(message, wire.SA, (wire.TOKEN, token)))

    def believe(link, message):
        link.state = "OPEN"
        link.write(reply(message, wire.SE, (wire.CAPABILITIES, stage.box.capabilities)))

    stage.box.plan(wire.SE, only_token)
    stage.box.plan(wire.SA, believe)
    lost(stage)
    same(stage.asked(wire.SA, 30).types(), [], "attributes of SA")
    stage.up()
    stage.whole_call()


def tries(stage, answer):
    """The middlebox answers SE so, once; then the agent has closed, and comes back with another challenge."""
    links = []

    def plan(link, message):
        link.state = "NOAUTH"
        links.append(link)
        answer(link, message)

    stage.box.plan(wire.SE, plan)
    stage.box.asked.clear()
    lost(stage)
    first = stage.asked(wire.SE, 30)
    stage.until("the agent closes", lambda: links and links[0].over)
    same([message.sub for message in stage.box.asked if message.sub != wire.SE], [], "what the agent says to an impostor")
    again = stage.asked(wire.SE, 30)
    holds(first.value(wire.CHALLENGE) != again.value(wire.CHALLENGE), "a new challenge")
    stage.up()


@case("§7.2", "A middlebox that cannot prove itself gets no session and no token: it is not the one that was meant")
def impostors(stage):
    secret = stage.box.secret

    def says(make):
        def answer(link, message):
            theirs = message.value(wire.CHALLENGE)
            ours = os.urandom(32)
            link.write(reply(message, wire.SA, (wire.CHALLENGE, ours), (wire.TOKEN, make(theirs, ours))))

        tries(stage, answer)

    says(lambda *_: b"")
    says(lambda theirs, ours: proof.token(b"k" * 32, proof.MIDDLEBOX, theirs, ours))
    says(lambda theirs, ours: proof.token(secret, proof.AGENT, theirs, ours))
    says(lambda theirs, ours: proof.token(secret, proof.MIDDLEBOX, os.urandom(40), ours))
    says(lambda theirs, ours: proof.token(secret, proof.MIDDLEBOX, theirs, b""))
    says(lambda theirs, ours: proof.token(secret, proof.MIDDLEBOX, theirs, ours)[:31])
    # A challenge without a token; and an SE reply, as if nothing had been asked.
    tries(stage, lambda link, message: link.write(reply(message, wire.SA, (wire.CHALLENGE, b"and you?"))))
    tries(stage, lambda link, message: link.write(reply(message, wire.SE, (wire.CAPABILITIES, stage.box.capabilities))))
    stage.whole_call()


@case("§7.2", "While there is only a middlebox that cannot prove itself, calls are refused as unreachable")
def no_call_meanwhile(stage):
    def impostor(link, message):
        link.write(reply(message, wire.SA, (wire.TOKEN, b"believe me")))

    stage.box.plan(wire.SE, impostor, 1000)
    lost(stage)
    stage.asked(wire.SE, 30)
    unreachable(stage)
    stage.box.plans = []
    stage.up()
    stage.whole_call()


@case("§7.3", "A middlebox that does not believe the agent says 0x0323: the agent comes back later")
def not_believed(stage):
    def refuse(link, message):
        link.write(Message(NEGATIVE, 0x23, message.tid).encode())
        link.close()

    stage.box.plan(wire.SA, refuse)
    lost(stage)
    stage.asked(wire.SA, 30)
    stage.up()
    stage.whole_call()
