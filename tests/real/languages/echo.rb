# SPDX-License-Identifier: MIT
# The echo of runtimes.bats in Ruby: threads, over IPv6.
require 'socket'

tcp = TCPServer.new('::1', 0)
udp = UDPSocket.new(Socket::AF_INET6)
udp.bind('::1', 0)
tcp.listen(100)
tcp_port, udp_port = [tcp, udp].map { |server| server.local_address.ip_port }
puts tcp_port, udp_port
Thread.new { loop { Thread.new(tcp.accept) { |s| IO.copy_stream(s, s); s.close } } }
Thread.new { loop { data, from = udp.recvfrom(10); udp.send(data, 0, from[3], from[1]) } }

streams = (1..50).map do |n|
	Thread.new do
		socket = TCPSocket.new('::1', tcp_port)
		puts "#{socket.local_address.ip_port}\n"
		sent = n.chr * 20000
		socket.write(sent)
		socket.close_write
		socket.read == sent
	end
end
datagrams = (1..20).map do |n|
	Thread.new do
		socket = UDPSocket.new(Socket::AF_INET6)
		socket.send(n.chr, 0, '::1', udp_port)
		puts "#{socket.local_address.ip_port}\n"
		socket.recvfrom(10)[0] == n.chr
	end
end
puts "#{(streams + datagrams).count(&:value)} right"
