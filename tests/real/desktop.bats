#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Remote desktop: what the far screen shows is seen on the near one.

# shellcheck disable=SC2317 # assert_job calls them

load real_helper

# The near screen is :71, the far one :75; X11 itself goes over UNIX sockets.
setup_file()
{
	netns_new
	cd "$(scratch)" || return
	serve Xvfb :71 -screen 0 640x480x24 -nolisten tcp
	wait_for 20 test -S /tmp/.X11-unix/X71
	serve_on 5975 Xvnc :75 -rfbport 5975 -localhost -SecurityTypes None -geometry 320x240 -depth 24
	paint :75 magenta
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	paint :71 black
}

teardown()
{
	servers_end
	calls_forget
}

# Fills the root window of a screen: paint DISPLAY COLOUR
paint()
{
	DISPLAY=$1 xsetroot -solid "$2"
}

# True once the near screen, 640 by 480 points of 4 bytes, has much that is nearly magenta.
sees_the_far_screen()
{
	[ "$(DISPLAY=:71 xwd -root -silent | tail -c 1228800 | xxd -p -c 4 |
		grep -c '^[ef].0.[ef]')" -gt 20000 ]
}

# Shows the far screen on the near one until that is seen: assert_shows COMMAND...
assert_shows()
{
	run ! sees_the_far_screen
	serve "${FENCE[@]}" env DISPLAY=:71 HOME="$PWD" "$@"
	wait_for 20 sees_the_far_screen
	companion_end "$PID"
	wait_for 10 run ! sees_the_far_screen
}

@test "a VNC session" {
	job()
	{
		assert_shows xtigervncviewer 127.0.0.1::5975
	}
	assert_job xtigervncviewer tigervnc-viewer job
}

@test "an RDP session" {
	serve_on 3390 env DISPLAY=:75 HOME="$PWD" \
		freerdp-shadow-cli /port:3390 /bind-address:127.0.0.1 -auth
	job()
	{
		assert_shows xfreerdp /v:127.0.0.1:3390 /u:x /p:x /cert:ignore /w:320 /h:240
	}
	assert_job xfreerdp freerdp2-x11 job
}

@test "a VNC server calls a viewer that listens" {
	packets()
	{
		awk '$3 == 5500' "$WIRE"
	}
	job()
	{
		serve_on 5500 env DISPLAY=:71 HOME="$PWD" xtigervncviewer -listen 5500
		local viewer=$PID
		serve_fenced 5976 Xvnc :76 -rfbport 5976 -localhost -SecurityTypes None \
			-geometry 320x240 -depth 24
		paint :76 magenta
		run ! sees_the_far_screen
		vncconfig -display :76 -connect 127.0.0.1:5500
		wait_for 20 sees_the_far_screen
		companion_end "$PID"
		companion_end "$viewer"
	}
	assert_job Xvnc tigervnc-standalone-server job
}
