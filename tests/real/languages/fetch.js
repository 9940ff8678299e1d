// SPDX-License-Identifier: MIT
// Fetches a URL many times into files, over eight kept connections: fetch.js [--ask] NUMBER URL
// With --ask Node.js asks DNS itself (c-ares), not through the C library.
const dns = require('dns'), fs = require('fs'), http = require('http');
const [number, url] = process.argv.slice(-2), asks = process.argv[2] == '--ask';

const agent = new http.Agent({keepAlive: true, maxSockets: 8});
const ask = (name, options, done) => dns.resolve4(name, (error, addresses) => error ? done(error) :
	options.all ? done(null, addresses.map(address => ({address, family: 4}))) :
	done(null, addresses[0], 4));
for (let i = 1; i <= number; i++)
	http.get(`${url}?${i}`, {agent, ...asks && {lookup: ask}},
		answer => answer.pipe(fs.createWriteStream(`out.${i}`)));
