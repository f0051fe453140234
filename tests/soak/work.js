// What V8 compiles, optimises, deoptimises and collects.
"use strict";
const crypto = require("crypto");
let hash = 0;
const mix = value => { hash = Math.imul(hash ^ value, 16777619) | 0; };

class Point { constructor(x, y) { this.x = x; this.y = y; } sum() { return this.x + this.y; } }
class Named extends Point { constructor(x, y, name) { super(x, y); this.name = name; } sum() { return super.sum() + this.name.length; } }

for (let round = 0; round < 6; round++) {
	const f = new Function("n", `let a = 1; for (let i = 0; i < n; i++) a = (a * ${round + 3} + i) % 1000003; return a;`);
	mix(f(200000));
	let total = 0;
	for (let i = 0; i < 60000; i++)
		total += (i % 1000 === round ? new Named(i, 1, "n" + i) : new Point(i, round)).sum();
	mix(total | 0);
	const map = new Map();
	for (let i = 0; i < 20000; i++)
		map.set("k" + (i * 7919) % 5003, (map.get("k" + (i * 7919) % 5003) || 0) + i);
	for (const [key, value] of map)
		mix(key.length + value);
	const typed = new Float64Array(4096).map((_, i) => Math.sqrt(i * round + 1));
	mix(Math.round(typed.reduce((a, b) => a + b, 0) * 1000));
	mix(parseInt(crypto.createHash("sha256").update(JSON.stringify([...typed].slice(0, 500))).digest("hex").slice(0, 8), 16));
	mix("text ".repeat(2000).replace(/t(e)x/g, "$1" + round).length);
}
console.log(hash);
