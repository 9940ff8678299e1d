<?php
// SPDX-License-Identifier: MIT
// Fetches a URL many times at once into files, and prints the ports: fetch.php NUMBER URL
$all = curl_multi_init();
$each = [];
for ($n = 1; $n <= $argv[1]; $n++) {
	$each[$n] = curl_init("$argv[2]?$n");
	curl_setopt($each[$n], CURLOPT_FILE, fopen("out.$n", 'w'));
	curl_multi_add_handle($all, $each[$n]);
}
do {
	curl_multi_exec($all, $running);
	curl_multi_select($all, 0.1);
} while ($running);
foreach ($each as $one)
	echo curl_getinfo($one, CURLINFO_LOCAL_PORT), "\n";
