import type { Metadata } from "next";

import { PageHead } from "@/components/ui/Panel";

export const metadata: Metadata = { title: "Services" };

export default function ServicesPage() {
  return <PageHead title="Services" />;
}
