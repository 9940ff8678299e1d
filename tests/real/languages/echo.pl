# SPDX-License-Identifier: MIT
# The echo of runtimes.bats in Perl: a child for each connection.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::IP;

$SIG{CHLD} = 'IGNORE';
my $tcp = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Listen => 100) or die $@;
my $udp = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'udp') or die $@;
print $tcp->sockport, "\n", $udp->sockport, "\n";

my (@streams, @datagrams);
for my $n (1 .. 50) {
	my $socket = IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $tcp->sockport)
		or die $@;
	print $socket->sockport, "\n";
	print $socket chr($n) x 20000;
	$socket->flush;
	shutdown $socket, 1;
	push @streams, $socket;
	my $connection = $tcp->accept;
	unless (fork // die) {
		local $/;
		print $connection readline $connection;
		close $connection;
		exit;
	}
}
for my $n (1 .. 20) {
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $udp->sockport,
		Proto => 'udp') or die $@;
	print $socket->sockport, "\n";
	$socket->send(chr $n);
	$udp->recv(my $data, 10);
	$udp->send($data);
	push @datagrams, $socket;
}
my $right = 0;
for my $n (1 .. 50) {
	local $/;
	$right += readline($streams[$n - 1]) eq chr($n) x 20000;
}
for my $n (1 .. 20) {
	$datagrams[$n - 1]->recv(my $data, 10);
	$right += $data eq chr $n;
}
print "$right right\n";
