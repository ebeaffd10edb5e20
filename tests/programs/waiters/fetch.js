// SPDX-License-Identifier: MIT
// node's fetch, several connections at once: fetch.js URL COUNT. Writes the body of each, and
// what went wrong.
const [url, count] = [process.argv[2], Number(process.argv[3])];

async function get() {
	try {
		const response = await fetch(url, { headers: { connection: "close" } });
		return Buffer.from(await response.arrayBuffer());
	} catch (error) {
		return Buffer.from(`${error.message}: ${error.cause?.message}\n`);
	}
}

Promise.all(Array.from({ length: count }, get)).then((bodies) => {
	process.stdout.write(Buffer.concat(bodies));
});
