"""What a case is, and what it is given: the middlebox under test and the network around it."""

import json
import time
from dataclasses import dataclass

import wire
from peer import Agent, Failed, connect, expect, same, tls
from wire import EXTERNAL, INTERNAL, UDP, AddressTuple, lifetime, per_set, pid


@dataclass(frozen=True)
class Case:
    name: str
    group: str
    sections: str
    requirement: str
    reading: str
    needs: str
    run: object


CASES = []


def case(sections, requirement, reading="", needs=""):
    """Marks a function as a conformance case: sections of RFC 4540, the requirement in one line, and which of several
    readings is meant where the RFC contradicts itself or says nothing (docs/simco.md has them all). `needs` is what a
    middlebox or its configuration must have (or have not) for the case to be about it: see `needs` in run.py."""

    def add(run):
        group = run.__module__.rsplit(".", 1)[-1]
        CASES.append(Case(f"{group}.{run.__name__}", group, sections, requirement, reading, needs, run))
        return run

    return add


class Post:
    """What sends and hears packets on one side: post.py, over its Unix socket."""

    def __init__(self, path):
        self.lines = connect(path).makefile("rw", encoding="utf-8")

    def do(self, what, **how):
        self.lines.write(json.dumps({"do": what, **how}) + "\n")
        self.lines.flush()
        answer = json.loads(self.lines.readline())
        if isinstance(answer, str) and answer.startswith("failed: "):
            raise Failed(f"{what} {how}: {answer}")
        return answer


class World:
    """The middlebox under test, as its configuration and the network around it make it."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.__dict__.update(json.load(file))
        self.open_agents, self.posts_met = [], {}

    def agent(self, who="own", over=None):
        """A connection without a session, from one of the peers: own, other, stranger, ..."""
        address = over or self.middlebox
        source = None if isinstance(address, str) else getattr(self, who)
        if not isinstance(address, str) and ":" in address[0]:
            source = None
        stream = connect(address, source)
        if hasattr(self, "tls") and not isinstance(address, str):
            # An agent is known by its certificate; ours checks that the middlebox's is for its address.
            stream = tls(self.tls[who]).wrap_socket(stream, server_hostname=address[0])
        secret = getattr(self, "secrets", {}).get(who)
        agent = Agent(stream, f"{who}'s connection {len(self.open_agents) + 1}", secret and secret.encode())
        self.open_agents.append(agent)
        return agent

    def session(self, who="own"):
        agent = self.agent(who)
        agent.capabilities = agent.open()
        return agent

    def post(self, side):
        """The post in the network of this side."""
        if side not in self.posts_met:
            self.posts_met[side] = Post(self.posts[side])
        return self.posts_met[side]

    def until_up(self, who="own"):
        """A session as soon as the middlebox accepts one: it may not listen yet, or have connections that are closed
        but not yet forgotten. The time only bounds a failure."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.session(who)
            except (OSError, Failed):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def clear(self):
        """After a case: its rules end and its connections close."""
        stories = [agent.tell() for agent in self.open_agents if agent.story]
        for agent in self.open_agents:
            agent.close()
        self.open_agents = []
        for who in [who for who in ("own", "other", "bound", "warden", "roamer", "wanderer") if hasattr(self, who)]:
            agent = self.until_up(who)
            listed = agent.ask(wire.PRL)
            if listed.code == 0x0222:
                for rule in [int.from_bytes(value, "big") for _, value in listed.attributes]:
                    agent.ask(wire.PLC, pid(rule), lifetime(0))
            expect(agent.ask(wire.ST), 0x0203, "ST")
            agent.close()
        self.open_agents = []
        return stories

    def internal(self, port=20000, ports=1, protocol=UDP, network=None, location=INTERNAL):
        return AddressTuple.of(location, network or self.inside, port, ports, protocol)

    def external(self, port=0, ports=1, protocol=UDP, network=None, location=EXTERNAL):
        return AddressTuple.of(location, network or self.outside, port, ports, protocol)

    def per(self, internal=None, external=None, seconds=60, direction=wire.INBOUND, parity=0, more=()):
        """The attributes of a PER request in the order of Figure 24."""
        internal = internal or self.internal()
        external = external or self.external(ports=internal.ports, protocol=internal.protocol)
        first = [per_set(direction, parity), internal.attribute, external.attribute, lifetime(seconds)]
        return first + list(more)


def enabled(agent, world, **how):
    """A new enable rule: its PER reply."""
    return expect(agent.ask(wire.PER, *world.per(**how)), 0x0212, "PER")


def reserved(agent, ports=2, seconds=60, more=(), **how):
    """A new reservation: its PRR reply."""
    return expect(agent.ask(wire.PRR, wire.prr_set(ports, **how), lifetime(seconds), *more), 0x0211, "PRR")


def state(agent, rule):
    """What PRS says of a rule: its reply."""
    return agent.ask(wire.PRS, pid(rule))


def listed(agent):
    """The PIDs of PRL."""
    answer = expect(agent.ask(wire.PRL), 0x0222, "PRL")
    same([kind for kind in answer.types() if kind != wire.PID], [], "attributes of PRL other than PIDs")
    return [int.from_bytes(value, "big") for _, value in answer.attributes]


def ends(agent, what, *codes):
    """That exactly these messages come, and then the end."""
    for code in codes:
        expect(agent.receive(), code, what)
    last = agent.receive()
    if last is not None:
        raise Failed(f"{what}: the connection should be closed, got {last}")


def goes_on(agent, what):
    """That the session is still there."""
    expect(agent.ask(wire.PRL), 0x0222, f"{what}; the session goes on")
