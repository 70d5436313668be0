"""What takes its time: RFC 4540 §6 step 2. All at once, since each waits for a minute."""

import time

import wire
from case import case, ends, goes_on
from peer import holds
from wire import Message, REQUEST, header, version


@case("§6 step 2, §7", "60 s without an octet within a message: BFM and the end; in a session BFM, AST and the end",
      "a connection without SE is closed after 60 s as well, in NOAUTH with AST: open connections are a resource")
def silence(world):
    began = time.monotonic()
    half_header, half_payload, silent, noauth = (world.agent() for _ in range(4))
    half_header.write(header(REQUEST, wire.SE, 8, 1)[:5])
    half_payload.write(Message(REQUEST, wire.SE, 1, [version()]).encode()[:-1])
    noauth.ask(wire.SE, version(), (wire.CHALLENGE, b"?"))
    within, quiet = world.session(), world.session()
    within.write(header(REQUEST, wire.PRS, 8, 7) + b"\0\5")
    for agent in (half_header, half_payload, silent, noauth, within):
        agent.stream.settimeout(90)
    ends(half_header, "half a header", 0x0401)
    ends(half_payload, "half a payload", 0x0401)
    ends(silent, "no octet at all")
    ends(noauth, "SE and no SA", 0x0402)
    ends(within, "half a message in a session", 0x0401, 0x0402)
    holds(time.monotonic() - began > 55, "a minute has passed")
    goes_on(quiet, "a session that was silent for a minute")


@case("§6 step 2", "A message whose octets come slowly, but each within 60 s, is waited for")
def slowly(world):
    agent = world.session()
    octets = Message(REQUEST, wire.PRL, 9).encode()
    for octet in octets:
        agent.write(bytes([octet]))
        time.sleep(0.3)
    holds(agent.reply(9) is not None, "the reply")
