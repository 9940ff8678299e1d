#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Telephony: SIP calls with media over RTP, hundreds at once and one between softphones.

# shellcheck disable=SC2317 # assert_job calls them

load real_helper

setup_file()
{
	netns_new
	netns_add_silence
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	head -c 1600 /dev/urandom >voice # a fifth of a second, ten packets
}

teardown()
{
	servers_end
	calls_forget
}

# Prints the scenario of a caller that does ACTION after the answer; its media port is [KEYWORD].
# scenario ACTION KEYWORD
scenario()
{
	sipp -sd uac |
		sed -e "s/\[media_port\]/[$2]/" -e "/<pause/i <nop><action><exec $1/></action></nop>"
}

# Starts a callee on port 5070 that echoes media on port MEDIA: callee MEDIA OPTION...
# It is not fenced, so what it echoes is not judged.
callee()
{
	local media=$1
	shift
	serve_on 5070 sipp -sn uas -i 127.0.0.1 -mi 127.0.0.1 -p 5070 -rtp_echo -mp "$media" -nostdin \
		-max_socket 1000 "$@"
	echo "$media" >>"$BATS_TEST_TMPDIR/served"
}

# Makes two hundred calls to it, four hundred a second. sipp fails unless each succeeds.
call()
{
	fenced sipp 127.0.0.1:5070 -i 127.0.0.1 -mi 127.0.0.1 -nostdin -max_socket 1000 -m 200 -r 400 \
		-d 1000 -timeout 30s -timeout_error "$@" >screen 2>&1
	grep -q 'Successful call  *|  *[0-9]*  *|  *200 ' screen
}

# Fails unless COUNT packets of media went from port FROM to port TO, and nearly as many came back.
assert_heard()
{
	local count=$1 from=$2 to=$3
	wire_drained() { [ "$(grep -c "^udp $to $from\$" "$WIRE")" -ge $((count - count / 20)) ]; }
	wait_for 10 wire_drained
	[ "$(grep -c "^udp $from $to\$" "$WIRE")" -eq "$count" ]
}

@test "two hundred calls over UDP, a socket each; media from a port of its own choice" {
	callee 6000
	scenario 'rtp_stream="voice,1,0"' rtpstream_audio_port >caller.xml
	job()
	{
		call -sf caller.xml -t un
		assert_heard 2000 6004 6000
	}
	assert_job sipp sip-tester job udp/6000
}

@test "two hundred calls over TCP, a connection each" {
	callee 6000 -t tn
	job()
	{
		call -sn uac -t tn
	}
	assert_job sipp sip-tester job
}

@test "two hundred calls, both ends fenced, media from ports configured to be the pool's" {
	scenario 'rtp_stream="voice,1,0"' rtpstream_audio_port >caller.xml
	packets()
	{
		awk '$1 == "udp" && $2 != 5070' "$WIRE"
	}
	job()
	{
		local range=${FENCE[3]:-30000-30999}
		local first=${range%-*} last=${range#*-}
		serve_fenced 5070 sipp -sn uas -i 127.0.0.1 -mi 127.0.0.1 -p 5070 -rtp_echo -mp "$first" \
			-nostdin -max_socket 1000
		call -sf caller.xml -t un -mp $((last - 99))
		assert_heard 2000 $((last - 99)) "$first"
		companion_end "$PID"
	}
	assert_job sipp sip-tester job
}

@test "two hundred calls, recorded media by raw sockets" {
	callee 6000
	mkdir pcap
	cp /usr/share/sip-tester/dtmf_2833_1.pcap pcap/
	scenario 'play_pcap_audio="pcap/dtmf_2833_1.pcap"' auto_media_port >caller.xml
	job()
	{
		call -sf caller.xml -t un
		[ "$(grep -c '^udp [0-9]* 6000$' "$WIRE")" -eq 2000 ]
	}
	assert_job sipp sip-tester job udp/6000
}

# --- a softphone --------------------------------------------------------------------------------

# Makes the configuration of a softphone: softphone NAME SIP-PORT RTP-RANGE ACCOUNT-SETTING
# It says what is in speech.wav, and writes what it hears into its folder.
softphone()
{
	mkdir -p "$1"
	printf '%s\n' "sip_listen 10.99.0.1:$2" 'net_interface silent0' "rtp_ports $3" \
		'module_path /usr/lib/baresip/modules' 'module g711.so' 'module aufile.so' \
		'module sndfile.so' 'module_tmp account.so' 'module_app menu.so' "snd_path $PWD/$1" \
		"audio_source aufile,$PWD/speech.wav" >"$1/config"
	echo "<sip:$1@10.99.0.1>;regint=0;$4" >"$1/accounts"
	touch "$1/contacts"
}

# True once a softphone has heard a second of 8,000 samples: has_heard NAME
has_heard()
{
	[ -n "$(find "$1" -name 'dump-*-dec.wav' -size +16k)" ]
}

# Fails unless what it heard is the tone that the other said.
assert_is_speech()
{
	/usr/bin/python3 - "$1"/dump-*-dec.wav <<-'END'
		import array, math, sys
		heard = array.array("h", open(sys.argv[1], "rb").read()[44 + 2000:44 + 16000])
		at = next(i for i in range(1, len(heard)) if heard[i - 1] < 0 <= heard[i])
		for i, sample in enumerate(heard[at:at + 800]):
		    assert abs(sample - 9000 * math.sin(i / 10)) < 1500, (i, sample)
	END
}

@test "a call between two softphones, both fenced" {
	/usr/bin/python3 - <<-'END'
		import array, math, wave
		with wave.open("speech.wav", "wb") as speech:
		    speech.setparams((1, 2, 8000, 0, "NONE", ""))
		    speech.writeframes(array.array("h", (int(9000 * math.sin(i / 10)) for i in range(80000))))
	END
	job()
	{
		local range=${FENCE[3]:-30000-30999} callee
		rm -rf a b
		softphone a 5080 "$range" answermode=auto
		softphone b 0 "$range" answermode=manual
		serve_fenced 5080 baresip -f a
		callee=$PID
		serve "${FENCE[@]}" baresip -f b -e '/dial sip:a@10.99.0.1:5080'
		wait_for 20 has_heard a
		wait_for 20 has_heard b
		companion_end "$PID"
		companion_end "$callee"
		assert_is_speech a
		assert_is_speech b
	}
	assert_job baresip baresip-core job
}
