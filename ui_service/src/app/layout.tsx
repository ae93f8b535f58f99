import "./globals.css";

import type { Metadata, Viewport } from "next";
import { cookies, headers } from "next/headers";
import type { ReactNode } from "react";

import { Shell } from "@/components/shell/Shell";
import { readTheme, THEME_COOKIE } from "@/components/shell/theme";

import { Providers } from "./providers";

export const metadata: Metadata = { title: { default: "Waystation", template: "%s · Waystation" } };
export const viewport: Viewport = {
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f7f7f8" },
    { media: "(prefers-color-scheme: dark)", color: "#0c0d0f" },
  ],
};

export default async function RootLayout({ children }: { children: ReactNode }) {
  await headers(); // rendered for each request, so that scripts carry its nonce
  const theme = readTheme((await cookies()).get(THEME_COOKIE)?.value);
  return (
    <html lang="en" data-theme={theme === "system" ? undefined : theme}>
      <body>
        <Providers>
          <Shell initialTheme={theme}>{children}</Shell>
        </Providers>
      </body>
    </html>
  );
}
