"""A post in one host's network: sends and hears packets as it is told over a Unix socket, one JSON object a line.

`post.py SOCKET`. The socket is a file, so that it is reached from every network namespace."""

import json
import os
import socket
import sys
import threading

PATIENCE = 20


def family(address):
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


class Post:
    def __init__(self):
        self.ears, self.heard_at, self.senders = {}, {}, {}

    def ear(self, at):
        """The UDP socket at this address."""
        at = tuple(at)
        if at not in self.ears:
            ear = socket.socket(family(at), socket.SOCK_DGRAM)
            ear.settimeout(PATIENCE)
            ear.bind(at)
            self.ears[at], self.heard_at[at] = ear, []
        return self.ears[at]

    def hear(self, at):
        self.ear(at)
        return True

    def send(self, source, to, text):
        self.ear(source).sendto(text.encode(), tuple(to))
        return True

    def until(self, at, text):
        """Waits for this packet."""
        ear, heard = self.ear(at), self.heard_at[tuple(at)]
        while text not in heard:
            heard.append(self.take(ear))
        heard.remove(text)
        return True

    def take(self, ear):
        """The next packet; who sent it is kept."""
        octets, sender = ear.recvfrom(2048)
        self.senders[octets.decode()] = sender[:2]
        return octets.decode()

    def who(self, text):
        """Who sent this packet, as seen here."""
        return self.senders[text]

    def heard(self, at):
        """What has come until now."""
        ear, heard = self.ear(at), self.heard_at[tuple(at)]
        ear.setblocking(False)
        try:
            while True:
                heard.append(self.take(ear))
        except BlockingIOError:
            pass
        ear.settimeout(PATIENCE)
        return heard

    def listen(self, at):
        """Echoes over TCP what comes first on each connection."""
        listener = socket.create_server(tuple(at), family=family(at))

        def serve():
            while True:
                stream, _ = listener.accept()
                stream.sendall(stream.recv(2048))
                stream.close()

        threading.Thread(target=serve, daemon=True).start()
        return True

    def call(self, source, to, text):
        with socket.create_connection(tuple(to), PATIENCE, tuple(source)) as stream:
            stream.sendall(text.encode())
            return stream.recv(2048).decode()


def main(path):
    post = Post()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen()
    os.rename(path + ".new", path)
    while True:
        stream, _ = listener.accept()
        with stream, stream.makefile("rw", encoding="utf-8") as lines:
            for line in lines:
                order = json.loads(line)
                try:
                    answer = getattr(post, order.pop("do"))(**order)
                except OSError as error:
                    answer = f"failed: {error}"
                lines.write(json.dumps(answer) + "\n")
                lines.flush()


if __name__ == "__main__":
    main(sys.argv[1])
