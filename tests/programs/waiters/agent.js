// SPDX-License-Identifier: MIT
// node's http.Agent: agent.js URL REQUESTS SOCKETS keep|close. Prints how many answers there
// were of which status and digest, and over how many connections they came.
const crypto = require("crypto");
const http = require("http");

const [url, requests, sockets] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const keepAlive = process.argv[5] === "keep";
const agent = new http.Agent({ keepAlive, maxSockets: sockets });
const headers = keepAlive ? {} : { connection: "close" };
const ends = new Map();
const connections = new Set();

function ended(how) {
	ends.set(how, (ends.get(how) ?? 0) + 1);
}

for (let i = 0; i < requests; i++) {
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
	for (const [how, number] of [...ends].sort())
		console.log(`${number} ${how}`);
	console.log(`${connections.size} connections`);
});
