"""Runs conformance cases of RFC 4540 against a middlebox: `run.py WORLD.json GROUP...`; `run.py --list` names them."""

import sys

sys.dont_write_bytecode = True

import importlib
import os
import pkgutil
import time
import traceback

import calls
import cases
from case import CASES, World

for package in (cases, calls):
    for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")


def show(case):
    for part in (case.name, case.sections, case.requirement, case.reading, case.needs):
        assert "\t" not in part
    print("\t".join((case.name, case.sections, case.requirement, case.reading, case.needs)))


def one(world, case):
    """Runs a case; what is wrong with it, if anything."""
    why = None
    try:
        case.run(world)
    except Exception as error:  # whatever a wrong answer leads to
        at = traceback.extract_tb(error.__traceback__)
        place = next((frame for frame in reversed(at) if "cases" in frame.filename), at[-1])
        why = f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})"
    stories = world.clear() if case.group != "shutdown" else []
    if why is None:
        return None
    told = [f"FAILED {case.name}: RFC 4540 {case.sections}: {case.requirement}"]
    told += [f"    reading: {case.reading}"] if case.reading else []
    return "\n".join(told + [f"    {why}"] + stories)


def needs(what, world, has):
    """Whether the middlebox under test is one that a case is about."""
    if what.startswith("no "):
        return not needs(what[3:], world, has)
    return {
        "NAT": has.nat,
        "disable rules": has.disable,
        "external wildcards": has.external_wildcards,
        "secrets": hasattr(world, "secrets"),
        "a warden": hasattr(world, "warden"),
        "leave to disable": has.disable and world.may_disable,
        "disable rules without leave": has.disable and not world.may_disable,
    }[what]


def main(arguments):
    if arguments == ["--list"]:
        for case in CASES:
            show(case)
        return 0
    world = World(arguments[0])
    has = world.until_up().capabilities
    world.clear()
    unknown = set(arguments[1:]) - {case.group for case in CASES} - {case.name for case in CASES}
    if unknown or not arguments[1:]:
        print(f"no such group: {unknown}")
        return 2
    ran = failed = left = 0
    for case in CASES:
        if case.group not in arguments[1:] and case.name not in arguments[1:]:
            continue
        if case.needs and not needs(case.needs, world, has):
            print(f"left out {case.name}: needs {case.needs}")
            left += 1
            continue
        ran += 1
        began = time.monotonic()
        why = one(world, case)
        failed += why is not None
        print(why or f"ok {case.name} {1000 * (time.monotonic() - began):.0f} ms", flush=True)
    print(f"{ran} cases, {failed} failed, {left} left out")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
