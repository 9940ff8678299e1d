<?php
// SPDX-License-Identifier: MIT
// The echo of runtimes.bats in PHP: servers of its own streams, clients of the extension "sockets".
function port($socket)
{
	socket_getsockname($socket, $address, $port);
	echo "$port\n";
}

$server = fn($url, $flags) => stream_socket_server($url, $error, $message, $flags,
	stream_context_create(['socket' => ['backlog' => 100]])) ?: die($message);
$port_of = fn($socket) => (int)substr(strrchr(stream_socket_get_name($socket, false), ':'), 1);
$tcp = $server('tcp://127.0.0.1:0', STREAM_SERVER_BIND | STREAM_SERVER_LISTEN);
$udp = $server('udp://127.0.0.1:0', STREAM_SERVER_BIND);
[$tcp_port, $udp_port] = [$port_of($tcp), $port_of($udp)];
echo "$tcp_port\n$udp_port\n";

$clients = [];
for ($n = 0; $n < 50; $n++) {
	$clients[$n] = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);
	socket_connect($clients[$n], '127.0.0.1', $tcp_port) or die(1);
	port($clients[$n]);
	socket_write($clients[$n], str_repeat(chr($n), 20000)) == 20000 or die(1);
	socket_shutdown($clients[$n], 1);
}
for ($n = 50; $n < 70; $n++) {
	$clients[$n] = socket_create(AF_INET, SOCK_DGRAM, SOL_UDP);
	socket_sendto($clients[$n], chr($n), 1, 0, '127.0.0.1', $udp_port);
	port($clients[$n]);
	$data = stream_socket_recvfrom($udp, 10, 0, $from);
	stream_socket_sendto($udp, $data, 0, $from);
}
for ($n = 0; $n < 50; $n++) {
	$connection = stream_socket_accept($tcp);
	fwrite($connection, stream_get_contents($connection));
	fclose($connection);
}
$right = 0;
foreach ($clients as $n => $client) {
	$got = '';
	do {
		$data = socket_read($client, 65536);
		$got .= $data;
	} while ($n < 50 && $data !== '');
	$right += $got === str_repeat(chr($n), $n < 50 ? 20000 : 1);
}
echo "$right right\n";
