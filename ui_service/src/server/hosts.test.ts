import { expect, test } from "vitest";

import { allowedHosts, isAllowedHost, isOwnRequest } from "./hosts";

const ALLOWED = allowedHosts({ WAYSTATION_UI_ALLOWED_HOSTS: " Board.example , " });

test.each(["localhost", "127.0.0.1:3000", "[::1]:3000", "LOCALHOST:1", "board.example:443"])("%s is let in", (host) => {
  expect(isAllowedHost(host, ALLOWED)).toBe(true);
});

test.each([null, "", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "localhost:x", "localhost:1:2", "board.example/x"])(
  "%s is kept out",
  (host) => {
    expect(isAllowedHost(host, ALLOWED)).toBe(false);
  },
);

const HOST = { host: "127.0.0.1:3000" };

test.each([
  ["GET", { origin: "http://evil.example" }, true],
  ["POST", { origin: "http://127.0.0.1:3000" }, true],
  ["POST", {}, true],
  ["POST", { "sec-fetch-site": "same-origin" }, true],
  ["POST", { origin: "http://evil.example" }, false],
  ["PUT", { origin: "http://127.0.0.1:4000" }, false],
  ["POST", { origin: "null" }, false],
  ["POST", { "sec-fetch-site": "cross-site" }, false],
  ["DELETE", { "sec-fetch-site": "same-site" }, false],
])("%s with %j: %s", (method, headers, isOwn) => {
  expect(isOwnRequest(method, new Headers({ ...HOST, ...(headers as Record<string, string>) }))).toBe(isOwn);
});
