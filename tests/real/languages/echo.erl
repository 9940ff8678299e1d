%% SPDX-License-Identifier: MIT
%% The echo of runtimes.bats in Erlang: processes; with an argument, on sockets of the newer kind.
-mode(compile).

main(Arguments) ->
	Kind = [{inet_backend, socket} || Arguments =/= []],
	Options = Kind ++ [binary, {ip, {127, 0, 0, 1}}, {active, false}],
	{ok, Tcp} = gen_tcp:listen(0, Options ++ [{backlog, 100}]),
	{ok, Udp} = gen_udp:open(0, Kind ++ [binary, {ip, {127, 0, 0, 1}}]),
	TcpPort = port(Tcp),
	UdpPort = port(Udp),
	spawn_link(fun() -> accept(Tcp) end),
	Reflector = spawn_link(fun() -> reflect(Udp) end),
	ok = gen_udp:controlling_process(Udp, Reflector),
	Me = self(),
	[spawn_link(fun() -> Me ! stream(Kind, TcpPort, <<N>>) end) || N <- lists:seq(1, 50)],
	[spawn_link(fun() -> Me ! datagram(Kind, UdpPort, <<N>>) end) || N <- lists:seq(1, 20)],
	Right = [right || _ <- lists:seq(1, 70), receive true -> true; false -> false end],
	io:format("~p right~n", [length(Right)]).

port(Socket) ->
	{ok, Port} = inet:port(Socket),
	io:format("~p~n", [Port]),
	Port.

accept(Tcp) ->
	{ok, Connection} = gen_tcp:accept(Tcp),
	Echo = spawn_link(fun() -> receive go -> echo(Connection) end end),
	ok = gen_tcp:controlling_process(Connection, Echo),
	Echo ! go,
	accept(Tcp).

echo(Connection) ->
	{ok, Data} = gen_tcp:recv(Connection, 20000),
	ok = gen_tcp:send(Connection, Data),
	gen_tcp:close(Connection).

reflect(Udp) ->
	receive
		{udp, Udp, Address, Port, Data} -> ok = gen_udp:send(Udp, Address, Port, Data)
	end,
	reflect(Udp).

stream(Kind, Port, Byte) ->
	Sent = binary:copy(Byte, 20000),
	{ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, Kind ++ [binary, {active, false}]),
	port(Socket),
	ok = gen_tcp:send(Socket, Sent),
	{ok, Got} = gen_tcp:recv(Socket, 20000),
	gen_tcp:close(Socket),
	Got =:= Sent.

datagram(Kind, Port, Byte) ->
	{ok, Socket} = gen_udp:open(0, Kind ++ [binary, {active, false}]),
	port(Socket),
	Got = answer(Socket, Port, Byte),
	gen_udp:close(Socket),
	Got =:= Byte.

%% Erlang 25 can miss that a datagram has arrived, fenced or not, until another one does.
answer(Socket, Port, Byte) ->
	ok = gen_udp:send(Socket, {127, 0, 0, 1}, Port, Byte),
	case gen_udp:recv(Socket, 0, 300) of
		{ok, {_, _, Got}} -> Got;
		{error, timeout} -> answer(Socket, Port, Byte)
	end.
