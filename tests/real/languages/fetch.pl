# SPDX-License-Identifier: MIT
# Fetches a URL many times into files, every other one over a kept connection: fetch.pl NUMBER URL
use strict;
use warnings;
use LWP::UserAgent;

my ($number, $url) = @ARGV;
my $kept = LWP::UserAgent->new(keep_alive => 1);
for my $i (1 .. $number) {
	my $agent = $i % 2 ? $kept : LWP::UserAgent->new;
	$agent->get("$url?$i", ':content_file' => "out.$i")->is_success or die;
}
