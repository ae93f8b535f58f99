import { Signpost } from "lucide-react";

import { EmptyState } from "@/components/ui/States";

export default function NotFound() {
  return <EmptyState icon={Signpost} title="There is no such page" />;
}
