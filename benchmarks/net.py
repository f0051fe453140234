"""The other end of the network tests: a source and a sink on the loopback interface.

Example:
    with Peer() as peer:
        ... peer.source_port, peer.sink_port
"""
import socket
import threading

BLOCK = bytes(256 * 1024)


def pour(connection):
    while True:
        connection.sendall(BLOCK)


def swallow(connection):
    while connection.recv(len(BLOCK)):
        pass


class Peer:
    def __init__(self, address="127.0.0.1"):
        self.address = address

    def __enter__(self):
        self.listeners = [self.listen(pour), self.listen(swallow)]
        self.source_port, self.sink_port = (listener.getsockname()[1] for listener in self.listeners)
        return self

    def __exit__(self, *_):
        for listener in self.listeners:
            listener.close()

    def listen(self, serve):
        listener = socket.create_server((self.address, 0))

        def one(connection):
            with connection:
                try:
                    serve(connection)
                except OSError:
                    pass  # the guest has seen enough

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener
