"""Plays a middlebox and two phones for an agent under test: `play.py WORLD.json GROUP...`."""

import sys

sys.dont_write_bytecode = True

import json
import time
import traceback

import run  # noqa: F401, it knows the cases
from case import CASES
from stage import Stage


def one(stage, case):
    """Runs a case; what is wrong with it, if anything."""
    why = None
    for part in (lambda: case.run(stage), stage.clear):
        try:
            part()
        except Exception as error:  # whatever a wrong message leads to
            frames = traceback.extract_tb(error.__traceback__)
            place = next((frame for frame in reversed(frames) if "calls" in frame.filename), frames[-1])
            why = why or f"{type(error).__name__}: {error} ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})\n{stage.tell()}"
    if why is None:
        return None
    told = [f"FAILED {case.name}: RFC 4540 {case.sections}: {case.requirement}"]
    told += [f"    reading: {case.reading}"] if case.reading else []
    return "\n".join(told + [f"    {why}"])


def main(arguments):
    with open(arguments[0], encoding="utf-8") as file:
        around = json.load(file)
    stage = Stage(around)
    # Now the agent may be started.
    with open(around["ready"], "w", encoding="utf-8"):
        pass
    stage.up()
    stage.clear()
    ran = failed = 0
    for case in CASES:
        if case.group not in arguments[1:] and case.name not in arguments[1:]:
            continue
        ran += 1
        began = time.monotonic()
        why = one(stage, case)
        failed += why is not None
        print(why or f"ok {case.name} {1000 * (time.monotonic() - began):.0f} ms", flush=True)
    print(f"{ran} cases, {failed} failed")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
