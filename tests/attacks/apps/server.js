// Tells what Node took a request for: in its answer, and in a datagram to whoever judges.
const http = require("node:http");
const dgram = require("node:dgram");

const [port, collector] = process.argv.slice(2).map(Number);
const out = dgram.createSocket("udp4");
const IDENTITY = ["x-auth-subject", "x-auth-roles", "x-auth-scopes", "x-auth-session"];

const decoded = (path) => {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
};
const parsed = (target) => {
  try {
    return decoded(new URL(target, "http://app.test").pathname);
  } catch {
    return "";
  }
};

http
  .createServer((request, response) => {
    const target = request.url;
    const record = {
      backend: "node",
      case: request.headers["x-case"] ?? "",
      method: request.method,
      target,
      paths: { url: decoded(target.split("?")[0]), URL: parsed(target), parse: decoded(require("node:url").parse(target).pathname ?? "") },
      identity: { headers: IDENTITY.map((name) => request.headers[name] ?? "") },
      cookie: request.headers.cookie ?? "",
      authorization: request.headers.authorization ?? "",
    };
    const text = JSON.stringify(record);
    out.send(text, collector, "127.0.0.1", () => {
      request.resume();
      request.on("end", () => {
        response.setHeader("X-Echo", target.replace(/[^!-~]/g, "?"));
        response.setHeader("Content-Type", "application/json");
        response.end(text);
      });
    });
  })
  .listen(port, "127.0.0.1");
