import type { Metadata } from "next";

import { PageHead } from "@/components/ui/Panel";

export const metadata: Metadata = { title: "Ask" };

export default function AskPage() {
  return <PageHead title="Ask" />;
}
