"""Postern's own request for counters (docs/simco.md) at a middlebox that knows RFC 4540 only: §6 step 4."""

import wire
from box import PRC
from case import case
from peer import same


@case("§6 step 4", "A middlebox that answers our private request with 0x0311 is not asked again in this session; the call goes on")
def strict(stage):
    ours, _ = stage.connect()
    stage.asked(PRC, 30)
    stage.silent(stage.a)
    # Long enough for another question: the second extension of both rules comes later than that.
    for _ in range(4):
        stage.asked(wire.PLC, 30)
    same([message.sub for message in stage.box.asked if message.sub == PRC], [], "further questions")
    stage.hang_up(ours)
