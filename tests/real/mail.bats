#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Mail: sending, fetching and relaying, through real servers of both kinds.

# shellcheck disable=SC2317 # assert_job calls them

load real_helper

setup_file()
{
	netns_new
	cd "$(scratch)" || return
	openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
		-subj /CN=localhost 2>openssl.log
	base64 /dev/urandom | head -n 1000 >body
	head -c 200000 /dev/urandom >picture
	printf '%s\n' 'From: a@away.test' 'To: b@home.test' 'Subject: a letter' '' >letter
	cat body >>letter
	install -d -o mail boxes
	postfix_prepare home 2525 smtpd_tls_security_level=may \
		smtpd_tls_cert_file="$PWD/cert.pem" smtpd_tls_key_file="$PWD/key.pem"
	serve_on 2525 "$(postconf -hd daemon_directory)/master" -c "$PWD/home" -s
	serve_on 1143 dovecot -F -c "$(dovecot_config dovecot 1143 1110 'args = password=secret')"
}

teardown_file()
{
	world_end
}

setup()
{
	pool_dir_new
	cd "$BATS_TEST_TMPDIR" || return
	FILES=$BATS_FILE_TMPDIR
	rm -rf "$FILES"/boxes/*
}

teardown()
{
	servers_end
	calls_forget
}

# Makes a Postfix of its own below the folder: postfix_prepare NAME PORT SETTING...
# What is for home.test it puts into boxes, what is for away.test it sends to port 2526.
postfix_prepare()
{
	local dir=$PWD/$1 port=$2
	shift 2
	mkdir -p "$dir"
	install -d -o postfix "$dir/data"
	printf '%s\n' compatibility_level=3.6 queue_directory="$dir/spool" data_directory="$dir/data" \
		inet_interfaces=127.0.0.1 inet_protocols=ipv4 mynetworks=127.0.0.0/8 \
		maillog_file="$dir/log" maillog_file_prefixes="$dir" in_flow_delay=0 \
		smtpd_peername_lookup=no smtp_dns_support_level=disabled \
		smtp_connection_cache_on_demand=no myhostname=mx.test mydestination= alias_maps= \
		relay_domains=away.test 'transport_maps=inline:{away.test=smtp:[127.0.0.1]:2526}' \
		virtual_mailbox_domains=home.test virtual_mailbox_base="$PWD/boxes" \
		virtual_mailbox_maps=static:b/ virtual_minimum_uid=1 \
		virtual_uid_maps="static:$(id -u mail)" virtual_gid_maps="static:$(id -g mail)" \
		"$@" >"$dir/main.cf"
	mkdir "$dir/spool"
	sed "s/^smtp  *inet .*smtpd/$port inet n - y - - smtpd/" /usr/share/postfix/master.cf.dist \
		>"$dir/master.cf"
	postfix -c "$dir" check 2>"$dir/warnings"
}

# Writes a configuration of Dovecot and prints its path:
# dovecot_config NAME IMAP-PORT POP3-PORT ARGUMENTS-OF-PASSDB
dovecot_config()
{
	local dir=$PWD/$1
	mkdir "$dir"
	cat >"$dir/conf" <<-END
		base_dir = $dir/run
		state_dir = $dir/state
		log_path = /dev/stderr
		protocols = imap pop3
		listen = 127.0.0.1
		ssl = no
		disable_plaintext_auth = no
		mail_location = maildir:$PWD/boxes/%u
		first_valid_uid = 1
		passdb {
			driver = static
			$4
		}
		userdb {
			driver = static
			args = uid=mail gid=mail home=$PWD/boxes/%u
		}
		service imap-login {
			inet_listener imap {
				port = $2
			}
			inet_listener imaps {
				port = 0
			}
		}
		service pop3-login {
			inet_listener pop3 {
				port = $3
			}
			inet_listener pop3s {
				port = 0
			}
		}
	END
	echo "$dir/conf"
}

# Fails unless a mailbox has COUNT mails: has_mails COUNT
has_mails()
{
	[ "$(find "$FILES/boxes/b/new" -type f | wc -l)" -eq "$1" ]
}

# Prints the body of a mail.
body()
{
	sed '1,/^\r*$/d' "$1"
}

# Waits until the mailbox has COUNT mails; fails unless the bodies of all are the letter's.
assert_delivered()
{
	local mail
	wait_for 20 has_mails "$1"
	for mail in "$FILES"/boxes/b/new/*; do
		body "$mail" | cmp - "$FILES/body"
	done
	rm "$FILES"/boxes/b/new/*
}

# --- sending ------------------------------------------------------------------------------------

@test "a mail with an attachment" {
	job()
	{
		fenced swaks --silent --server 127.0.0.1:2525 --from a@away.test --to b@home.test \
			--attach @"$FILES/picture" --attach-name picture
		wait_for 20 has_mails 1
		/usr/bin/python3 - "$FILES"/boxes/b/new/* <<-'END' >picture
			import email, sys
			for part in email.message_from_binary_file(open(sys.argv[1], "rb")).walk():
			    if part.get_filename() == "picture":
			        sys.stdout.buffer.write(part.get_payload(decode=True))
		END
		cmp picture "$FILES/picture"
		rm "$FILES"/boxes/b/new/*
	}
	assert_job swaks swaks job
}

@test "ten mails at once, over STARTTLS" {
	install -m 600 /dev/stdin msmtprc <<-END
		account default
		host 127.0.0.1
		port 2525
		from a@away.test
		tls on
		tls_starttls on
		tls_certcheck off
		auth off
	END
	job()
	{
		# shellcheck disable=SC2016 # for sh
		seq 10 | fenced xargs -P 10 -I{} sh -c 'msmtp --file=msmtprc b@home.test <"$0"' \
			"$FILES/letter"
		assert_delivered 10
	}
	assert_job msmtp msmtp job
}

@test "fifty mails over ten sessions" {
	job()
	{
		fenced smtp-source -m 50 -s 10 -l 50000 -f a@away.test -t b@home.test 127.0.0.1:2525
		wait_for 20 has_mails 50
		find "$FILES/boxes/b/new" -type f -size -48k >short
		[ ! -s short ]
		rm "$FILES"/boxes/b/new/*
	}
	assert_job smtp-source postfix job
}

@test "a mail by SMTP" {
	job()
	{
		fenced curl -sS --crlf smtp://127.0.0.1:2525 --mail-from a@away.test --mail-rcpt b@home.test \
			--upload-file "$FILES/letter"
		assert_delivered 1
	}
	assert_job curl curl job
}

# --- fetching -----------------------------------------------------------------------------------

# Puts COUNT letters into a mailbox, and nothing else: letters USER COUNT
letters()
{
	local number
	rm -rf "$FILES/boxes/$1"
	install -d -o mail "$FILES/boxes/$1"{,/new,/cur,/tmp}
	for ((number = 1; number <= $2; number++)); do
		install -o mail "$FILES/letter" "$FILES/boxes/$1/new/$number.letter"
	done
}

@test "mails by IMAP and POP3" {
	job()
	{
		letters b 3
		fenced curl -sS -u b:secret 'imap://127.0.0.1:1143/INBOX;MAILINDEX=[1-3]' -o 'imap#1'
		fenced curl -sS -u b:secret 'pop3://127.0.0.1:1110/[1-3]' -o 'pop#1'
		for mail in {imap,pop}{1,2,3}; do
			tr -d '\r' <"$mail" | cmp - "$FILES/letter"
		done
	}
	assert_job curl curl job
}

@test "mails fetched by POP3 and IMAP, handed on by SMTP" {
	job()
	{
		local protocol
		for protocol in 'pop3 port 1110' 'imap port 1143'; do
			letters c 5
			install -m 600 /dev/stdin fetchmailrc <<-END
				poll 127.0.0.1 protocol $protocol username c password secret
				smtphost 127.0.0.1/2525 is b@home.test here sslproto '' no keep fetchall
			END
			fenced fetchmail --fetchmailrc fetchmailrc --pidfile "$PWD/pid" --silent
			assert_delivered 5
		done
	}
	assert_job fetchmail fetchmail job
}

@test "a mailbox synchronized by IMAP, both ways" {
	cat >mbsyncrc <<-END
		IMAPAccount a
		Host 127.0.0.1
		Port 1143
		User b
		Pass secret
		SSLType None
		AuthMechs LOGIN

		IMAPStore far
		Account a

		MaildirStore near
		Inbox $PWD/near

		Channel c
		Far :far:
		Near :near:
		Create Near
		SyncState *
	END
	job()
	{
		rm -rf near
		letters b 3
		fenced mbsync -c mbsyncrc c
		cp "$FILES/letter" near/new/own
		fenced mbsync -c mbsyncrc c
		[ "$(find near/cur near/new -type f | wc -l)" -eq 4 ]
		[ "$(find "$FILES"/boxes/b/{cur,new} -type f | wc -l)" -eq 4 ]
		for mail in near/{new,cur}/* "$FILES"/boxes/b/{new,cur}/*; do
			[ ! -e "$mail" ] || body "$mail" | cmp - "$FILES/body"
		done
	}
	assert_job mbsync isync job
}

# --- relaying -----------------------------------------------------------------------------------

@test "a relay hands on fifty mails" {
	serve_on 2526 smtp-sink -u root -d "$PWD/sunk." 127.0.0.1:2526 100
	postfix_prepare relay 2527
	packets()
	{
		awk '$3 == 2526' "$WIRE"
	}
	job()
	{
		serve_fenced 2527 "$(postconf -hd daemon_directory)/master" -c "$PWD/relay" -s
		net smtp-source -m 50 -s 10 -l 50000 -f a@home.test -t b@away.test 127.0.0.1:2527
		wait_for 20 has_sent 50
		companion_end "$PID"
		[ "$(find . -name 'sunk.*' -size +48k | wc -l)" -eq 50 ]
		rm sunk.* relay/log
	}
	has_sent()
	{
		[ "$(grep -c status=sent relay/log)" -eq "$1" ]
	}
	assert_job Postfix postfix job
	[ "$(wc -l <seen)" -eq 50 ] # no connection served two
}

@test "an IMAP proxy" {
	packets()
	{
		awk '$3 == 1143' "$WIRE"
	}
	job()
	{
		rm -rf proxy
		letters b 3
		serve_fenced 2143 dovecot -F -c "$(dovecot_config proxy 2143 2110 \
			'args = proxy=y host=127.0.0.1 port=1143 nopassword=y')"
		net curl -sS -u b:secret 'imap://127.0.0.1:2143/INBOX;MAILINDEX=[1-3]' -o 'imap#1'
		for mail in imap{1,2,3}; do
			tr -d '\r' <"$mail" | cmp - "$FILES/letter"
		done
		companion_end "$PID"
	}
	assert_job Dovecot dovecot-core job
}
