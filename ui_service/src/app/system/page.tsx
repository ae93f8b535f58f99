import type { Metadata } from "next";

import { PageHead } from "@/components/ui/Panel";

export const metadata: Metadata = { title: "System" };

export default function SystemPage() {
  return <PageHead title="System" />;
}
