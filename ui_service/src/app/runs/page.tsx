import type { Metadata } from "next";

import { PageHead } from "@/components/ui/Panel";

export const metadata: Metadata = { title: "Runs" };

export default function RunsPage() {
  return <PageHead title="Runs" />;
}
