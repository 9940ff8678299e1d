// SPDX-License-Identifier: MIT
// The echo of runtimes.bats in Java: one selector serves TCP and UDP, the clients are threads.
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.concurrent.*;

class Echo {
	static void serve(ServerSocketChannel tcp, DatagramChannel udp) throws Exception {
		var selector = Selector.open();
		var buffer = ByteBuffer.allocate(65536);
		tcp.configureBlocking(false).register(selector, SelectionKey.OP_ACCEPT);
		udp.configureBlocking(false).register(selector, SelectionKey.OP_READ);
		for (;;) {
			selector.select();
			for (var key : selector.selectedKeys()) {
				buffer.clear();
				if (key.isAcceptable()) {
					var stream = tcp.accept().configureBlocking(false);
					stream.register(selector, SelectionKey.OP_READ);
				} else if (key.channel() == udp) {
					var from = udp.receive(buffer);
					udp.send(buffer.flip(), from);
				} else {
					var stream = (SocketChannel) key.channel();
					if (stream.read(buffer) < 0)
						stream.close();
					else
						for (buffer.flip(); buffer.hasRemaining();)
							stream.write(buffer);
				}
			}
			selector.selectedKeys().clear();
		}
	}

	static boolean stream(int port, int n) throws Exception {
		var sent = new byte[20000];
		Arrays.fill(sent, (byte) n);
		try (var socket = new Socket("127.0.0.1", port)) {
			System.out.println(socket.getLocalPort());
			socket.getOutputStream().write(sent);
			socket.shutdownOutput();
			return Arrays.equals(socket.getInputStream().readAllBytes(), sent);
		}
	}

	static boolean datagram(int port, int n) throws Exception {
		var server = InetAddress.getByName("127.0.0.1");
		var packet = new DatagramPacket(new byte[] {(byte) n}, 1, server, port);
		try (var socket = new DatagramSocket()) {
			System.out.println(socket.getLocalPort());
			socket.send(packet);
			packet.setData(new byte[1]);
			socket.receive(packet);
			return packet.getData()[0] == (byte) n;
		}
	}

	public static void main(String[] a) throws Exception {
		var here = new InetSocketAddress("127.0.0.1", 0);
		var tcp = ServerSocketChannel.open().bind(here, 100);
		var udp = DatagramChannel.open().bind(here);
		System.out.println(tcp.socket().getLocalPort());
		System.out.println(udp.socket().getLocalPort());
		int tcpPort = tcp.socket().getLocalPort(), udpPort = udp.socket().getLocalPort();
		var threads = Executors.newCachedThreadPool();
		var clients = new ArrayList<Callable<Boolean>>();
		threads.submit(() -> {
			serve(tcp, udp);
			return null;
		});
		for (int i = 0; i < 70; i++) {
			int n = i;
			clients.add(n < 50 ? () -> stream(tcpPort, n) : () -> datagram(udpPort, n));
		}
		int right = 0;
		for (var client : threads.invokeAll(clients))
			right += client.get() ? 1 : 0;
		System.out.println(right + " right");
		System.exit(0);
	}
}
