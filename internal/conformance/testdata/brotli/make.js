// Makes messages.hex: messages of a remote call as Google's Brotli (in Node.js) packs them, one a line. Usage: node make.js >messages.hex
const zlib = require('zlib');
let state = 7;
const next = n => (state = (Math.imul(state, 1103515245) + 12345) >>> 0, (state >>> 8) % n);
const names = ['alice', 'bob', 'carol', 'dave', 'erin'];
const kinds = [
  () => JSON.stringify([...Array(2 + next(12))].map(() => ({ id: next(1e7), name: names[next(5)], ok: next(2) === 1, t: '2026-11-23T13:' + (10 + next(50)) }))),
  () => [...Array(5 + next(30))].map(() => `${names[next(5)]} wrote ${next(1e4)} bytes to /var/log/${names[next(5)]}.log`).join('\n'),
  () => Buffer.from([...Array(200 + next(400))].map((_, i) => i % 4 ? (i % 4 === 3 ? next(256) : 0) : next(16))),
];
for (let i = 0; i < 72; i++) {
  const c = zlib.constants;
  const packed = zlib.brotliCompressSync(kinds[i % 3](), { params: { [c.BROTLI_PARAM_QUALITY]: [4, 6, 11][Math.floor(i / 3) % 3], [c.BROTLI_PARAM_LGWIN]: [22, 18][next(2)] } });
  console.log(packed.toString('hex'));
}
