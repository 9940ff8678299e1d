// SPDX-License-Identifier: MIT
// The echo of runtimes.bats in Rust: threads, over IPv6.
use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;

fn stream(port: u16, n: u8) -> Result<bool> {
	let mut socket = TcpStream::connect(("::1", port))?;
	println!("{}", socket.local_addr()?.port());
	let (sent, mut got) = (vec![n; 20000], vec![]);
	socket.write_all(&sent)?;
	socket.shutdown(Shutdown::Write)?;
	socket.read_to_end(&mut got)?;
	Ok(got == sent)
}

fn datagram(port: u16, n: u8) -> Result<bool> {
	let socket = UdpSocket::bind(("::", 0))?;
	println!("{}", socket.local_addr()?.port());
	let mut got = [0];
	socket.send_to(&[n], ("::1", port))?;
	Ok(socket.recv(&mut got)? == 1 && got == [n])
}

fn main() -> Result<()> {
	let tcp = TcpListener::bind(("::1", 0))?;
	let udp = UdpSocket::bind(("::1", 0))?;
	let (tcp_port, udp_port) = (tcp.local_addr()?.port(), udp.local_addr()?.port());
	println!("{}\n{}", tcp_port, udp_port);
	thread::spawn(move || loop {
		let (mut connection, _) = tcp.accept().unwrap();
		thread::spawn(move || {
			let mut data = vec![];
			connection.read_to_end(&mut data).unwrap();
			connection.write_all(&data).unwrap();
		});
	});
	thread::spawn(move || loop {
		let mut data = [0];
		let (_, from) = udp.recv_from(&mut data).unwrap();
		udp.send_to(&data, from).unwrap();
	});
	let streams = (0..50).map(|n| thread::spawn(move || stream(tcp_port, n)));
	let datagrams = (0..20).map(|n| thread::spawn(move || datagram(udp_port, n)));
	let clients: Vec<_> = streams.collect::<Vec<_>>().into_iter().chain(datagrams).collect();
	let mut right = 0;
	for client in clients {
		right += client.join().unwrap()? as u32;
	}
	println!("{} right", right);
	Ok(())
}
