#!/usr/bin/env python3
"""Denies the source of every alert that Suricata writes to its EVE log.

    tail -F /var/log/suricata/eve.json | suricata-deny.py --for 10m

Reads EVE lines from standard input. For each alert of severity 1 or 2 (`--severity`) it runs `postern deny SOURCE`, which
closes every pinhole of that address and refuses new ones for a while; calls through them end with a reason. An address
is denied once per `--for`. Lines that are no alert are passed over, and so is what cannot be read. Run it as root.

Suricata believes what packets say of their source. Name your trunks with `--never`, or a spoofed packet can end their calls.
"""

import argparse
import ipaddress
import json
import subprocess
import sys
import time

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text):
    if not text[:-1].isdigit() or text[-1] not in UNITS:
        raise argparse.ArgumentTypeError("a number and s, m, h or d")
    return text


def main():
    parser = argparse.ArgumentParser(description="Denies the source of every alert of Suricata.")
    parser.add_argument("--for", dest="time", type=seconds, default="10m", help="for how long (default 10m)")
    parser.add_argument("--severity", type=int, default=2, help="the least severe alert that counts; 1 is the worst")
    parser.add_argument("--never", type=ipaddress.ip_network, action="append", default=[], help="a network not to deny")
    parser.add_argument("postern", nargs="*", default=["postern"], help="the command, with options such as --run-dir")
    arguments = parser.parse_args()
    lasts = int(arguments.time[:-1]) * UNITS[arguments.time[-1]]
    until = {}
    for line in sys.stdin:
        try:
            event = json.loads(line)
            if event["event_type"] != "alert" or event["alert"]["severity"] > arguments.severity:
                continue
            source = ipaddress.ip_address(event["src_ip"])
            signature = str(event["alert"].get("signature", "?"))
        except (ValueError, KeyError, TypeError):
            continue
        now = time.monotonic()
        until = {address: end for address, end in until.items() if end > now}
        if source in until or any(source in network for network in arguments.never):
            continue
        done = subprocess.run([*arguments.postern, "deny", str(source), "--for", arguments.time], check=False)
        if done.returncode == 0:
            until[source] = now + lasts
            print(f"{source}: {signature}", flush=True)


if __name__ == "__main__":
    main()
