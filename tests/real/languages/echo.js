// SPDX-License-Identifier: MIT
// The echo of runtimes.bats in Node.js: the servers are two workers, which have their sockets from
// the primary.
const cluster = require('cluster'), dgram = require('dgram'), net = require('net');

const stream = (port, n) => new Promise((resolve, reject) => {
	const sent = Buffer.alloc(20000, n), got = [];
	const socket = net.connect(port, '127.0.0.1', () => {
		console.log(socket.localPort);
		socket.end(sent);
	});
	socket.on('data', data => got.push(data)).on('error', reject);
	socket.on('end', () => resolve(Buffer.concat(got).equals(sent)));
});

const datagram = (port, n) => new Promise((resolve, reject) => {
	const socket = dgram.createSocket('udp4', data => {
		console.log(socket.address().port);
		socket.close();
		resolve(data.equals(Buffer.from([n])));
	});
	socket.on('error', reject).send(Buffer.from([n]), port, '127.0.0.1');
});

async function ask(tcp, udp) {
	const right = await Promise.all([
		...Array.from({length: 50}, (_, n) => stream(tcp, n)),
		...Array.from({length: 20}, (_, n) => datagram(udp, n))]);
	console.log(right.filter(r => r).length, 'right');
	cluster.disconnect();
}

function work() {
	const udp = dgram.createSocket('udp4', (data, from) => udp.send(data, from.port, from.address));
	const tcp = net.createServer({allowHalfOpen: true}, socket => socket.pipe(socket));
	tcp.listen(0, '127.0.0.1', () => udp.bind(0, '127.0.0.1', () =>
		process.send([tcp.address().port, udp.address().port])));
}

if (cluster.isPrimary) {
	const workers = [cluster.fork(), cluster.fork()];
	const messages = workers.map(worker => new Promise(resolve => worker.on('message', resolve)));
	Promise.all(messages).then(([[tcp, udp], [tcp2, udp2]]) => {
		if (tcp != tcp2 || udp != udp2)
			throw new Error('two workers, two ports');
		console.log(tcp);
		console.log(udp);
		ask(tcp, udp);
	});
} else {
	work();
}
