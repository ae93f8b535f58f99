import type { Metadata } from "next";

import { RunPage } from "@/features/run/components/RunPage";

interface Props {
  params: Promise<{ runId: string }>;
}

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  return { title: `Run ${decoded((await params).runId).slice(0, 60)}` };
}

export default async function Page({ params }: Props) {
  const runId = decoded((await params).runId);
  return <RunPage key={runId} runId={runId} />;
}

/** Next gives the address as it was written. */
function decoded(runId: string): string {
  try {
    return decodeURIComponent(runId);
  } catch {
    return runId;
  }
}
