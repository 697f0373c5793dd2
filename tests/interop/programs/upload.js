// Uploads its standard input with node:tls: upload.js PORT VERSION CA [FRAGMENT].
//
// Says close_notify after the last byte and prints what the server answers.  FRAGMENT: the most
// bytes of data in a record.  Node takes the end of TCP for an end of TLS.
"use strict";

const fs = require("node:fs");
const tls = require("node:tls");

const [port, version, ca, fragment] = process.argv.slice(2);
const socket = tls.connect(
  {
    host: "127.0.0.1",
    port: Number(port),
    servername: "localhost",
    ca: fs.readFileSync(ca),
    minVersion: `TLSv${version}`,
    maxVersion: `TLSv${version}`,
    allowHalfOpen: true,
  },
  () => {
    if (fragment && !socket.setMaxSendFragment(Number(fragment))) {
      throw new Error(`no fragments of ${fragment} bytes`);
    }
    process.stdin.pipe(socket);
  },
);
socket.pipe(process.stdout);
