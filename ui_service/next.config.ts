import type { NextConfig } from "next";

/** One self-contained server; what every answer says of itself is in src/proxy.ts. */
const config: NextConfig = {
  output: "standalone",
  outputFileTracingRoot: import.meta.dirname,
  turbopack: { root: import.meta.dirname },
  poweredByHeader: false,
  reactStrictMode: true,
  devIndicators: false,
};

export default config;
