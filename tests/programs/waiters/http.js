// SPDX-License-Identifier: MIT
// node's two HTTP clients, several connections at once.
// http.js fetch URL COUNT: writes the body of each, and what went wrong.
// http.js agent URL REQUESTS SOCKETS keep|close: an http.Agent. Prints how many answers there were of which status
// and digest, and over how many connections they came.
const crypto = require("crypto");
const http = require("http");

const [how, url, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];

async function get() {
	try {
		const response = await fetch(url, { headers: { connection: "close" } });
		return Buffer.from(await response.arrayBuffer());
	} catch (error) {
		return Buffer.from(`${error.message}: ${error.cause?.message}\n`);
	}
}

function fetchAll() {
	Promise.all(Array.from({ length: count }, get)).then((bodies) => {
		process.stdout.write(Buffer.concat(bodies));
	});
}

function byAgent(maxSockets, keepAlive) {
	const agent = new http.Agent({ keepAlive, maxSockets });
	const headers = keepAlive ? {} : { connection: "close" };
	const ends = new Map();
	const connections = new Set();

	function ended(how) {
		ends.set(how, (ends.get(how) ?? 0) + 1);
	}

	for (let i = 0; i < count; i++) {
		const request = http.get(url, { agent, headers }, (response) => {
			const hash = crypto.createHash("sha256");
			response.on("data", (data) => hash.update(data));
			response.on("end", () => ended(`${response.statusCode} ${hash.digest("hex")}`));
			response.on("error", (error) => ended(error.message));
		});
		request.on("socket", (socket) => connections.add(socket));
		request.on("error", (error) => ended(error.message));
	}

	process.on("exit", () => {
		for (const [end, number] of [...ends].sort())
			console.log(`${number} ${end}`);
		console.log(`${connections.size} connections`);
	});
}

if (how === "agent")
	byAgent(Number(process.argv[5]), process.argv[6] === "keep");
else
	fetchAll();
