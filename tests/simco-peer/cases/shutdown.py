"""The end of a middlebox: RFC 4540 §5.2.7 and §7.5. The last case of its run: nothing is there afterwards."""

import os
import signal

import wire
from case import case
from peer import expect, same
from wire import lifetime, version


@case("§5.2.7, §7.5", "A middlebox that ends says AST on every session, behind the replies to what it has read, and closes")
def ast(world):
    waiting = world.agent()
    expect(waiting.ask(wire.SE, version(), (wire.CHALLENGE, b"?")), 0x0202, "SE")
    idle, busy = world.session(), world.session("other")
    expect(busy.ask(wire.PER, *world.per()), 0x0212, "PER")
    tids = [busy.send(wire.PRR, wire.prr_set(), lifetime(60)) for _ in range(50)]
    replies = {tid: busy.reply(tid).code for tid in tids[:1]}
    os.kill(world.process, signal.SIGTERM)
    for agent in (waiting, idle):
        last = agent.receive()
        expect(last, 0x0402, "AST")
        same((last.attributes, agent.receive()), ([], None), "attributes of AST, and the end")
    while (message := busy.receive()) is not None:
        if message.basic == wire.NOTIFICATION:
            expect(message, 0x0402, "AST")
            same(busy.receive(), None, "behind AST")
            break
        replies[message.tid] = message.code
    same(set(replies.values()), {0x0211}, "replies before AST")
