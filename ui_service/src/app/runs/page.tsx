import type { Metadata } from "next";
import { Suspense } from "react";

import { SkeletonRows } from "@/components/ui/Skeleton";
import { RunsPage } from "@/features/runs/RunsPage";

export const metadata: Metadata = { title: "Runs" };

export default function Page() {
  return (
    <Suspense fallback={<SkeletonRows />}>
      <RunsPage />
    </Suspense>
  );
}
