"""Both ends of a connection in one process, with neither socket nor clock: the protocol alone."""

from __future__ import annotations

from framelet import ClientConnection, ReplyReceived, RequestReceived, ServerConnection, reverse

client = ClientConnection(now=0.0)
server = ServerConnection(now=0.0)

client.send_request("Hello CPHBusiness")
wire = client.data_to_send(now=0.0)
print("to the server:", wire.hex(" "))

for octet in wire:  # the stream may be cut anywhere
    server.receive_data(bytes([octet]), now=0.1)
    while (event := server.next_event()) is not None:
        if isinstance(event, RequestReceived):
            server.send_reply(event, reverse(event.text))

wire = server.data_to_send(now=0.2)
print("to the client:", wire.hex(" "))
client.receive_data(wire, now=0.3)
while (answer := client.next_event()) is not None:
    if isinstance(answer, ReplyReceived):
        print("the reply:    ", answer.text)
