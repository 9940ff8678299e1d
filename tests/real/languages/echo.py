# SPDX-License-Identifier: MIT
# The echo of runtimes.bats in Python's asyncio; with an argument, in uvloop's.
import asyncio
import sys

if len(sys.argv) > 1:
    import uvloop

    uvloop.install()


def port(transport):
    print(transport.get_extra_info("sockname")[1])


async def serve(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Server(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
        port(transport)

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Client(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.datagram_received = lambda data, address: answer.set_result(data)


async def stream(server, n):
    reader, writer = await asyncio.open_connection("127.0.0.1", server)
    port(writer)
    sent = bytes([n]) * 20000
    writer.write(sent)
    writer.write_eof()
    answer = await reader.read(-1)
    writer.close()
    return answer == sent


async def datagram(server, n):
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Client(answer), remote_addr=("127.0.0.1", server))
    port(transport)
    transport.sendto(bytes([n]))
    answer = await answer
    transport.close()
    return answer == bytes([n])


async def main():
    loop = asyncio.get_running_loop()
    tcp = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=100)
    print(tcp.sockets[0].getsockname()[1])
    udp, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    right = await asyncio.gather(
        *(stream(tcp.sockets[0].getsockname()[1], n) for n in range(50)),
        *(datagram(udp.get_extra_info("sockname")[1], n) for n in range(20)))
    print(sum(right), "right")


asyncio.run(main())
