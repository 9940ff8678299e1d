-- SPDX-License-Identifier: MIT
-- The echo of runtimes.bats in Lua, with LuaSocket.
local socket = require "socket"

local function port(of)
	local _, number = of:getsockname()
	print(tonumber(number))
	return number
end

local tcp = assert(socket.bind("127.0.0.1", 0, 100))
local udp = assert(socket.udp())
assert(udp:setsockname("127.0.0.1", 0))
local tcp_port, udp_port = port(tcp), port(udp)

local streams, datagrams, right = {}, {}, 0
for n = 1, 50 do
	streams[n] = assert(socket.connect("127.0.0.1", tcp_port))
	port(streams[n])
	assert(streams[n]:send(string.char(n):rep(20000)))
	streams[n]:shutdown "send"
end
for n = 1, 20 do
	datagrams[n] = assert(socket.udp())
	-- A socket that has a peer before it sends, and one that has not.
	if n % 2 == 0 then
		assert(datagrams[n]:setpeername("127.0.0.1", udp_port))
		assert(datagrams[n]:send(string.char(n)))
	else
		assert(datagrams[n]:sendto(string.char(n), "127.0.0.1", udp_port))
	end
	port(datagrams[n])
	local data, address, from = udp:receivefrom()
	assert(udp:sendto(data, address, from))
end
for _ = 1, 50 do
	local connection = assert(tcp:accept())
	assert(connection:send(assert(connection:receive "*a")))
	connection:close()
end
for n = 1, 50 do
	right = right + (streams[n]:receive "*a" == string.char(n):rep(20000) and 1 or 0)
end
for n = 1, 20 do
	right = right + (datagrams[n]:receive() == string.char(n) and 1 or 0)
end
print(right .. " right")
