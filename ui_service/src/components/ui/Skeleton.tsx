import { cn } from "@/components/cn";

/** Where something will be. */
export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden className={cn("animate-pulse-slow rounded bg-hover", className)} />;
}

/** A few lines of it, said once to those who listen. */
export function SkeletonRows({ rows = 5, label = "Loading" }: { rows?: number; label?: string }) {
  return (
    <div role="status" aria-label={label} className="grid gap-3 p-4">
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} className={cn("h-4", row % 3 === 1 ? "w-2/3" : row % 3 === 2 ? "w-1/2" : "w-5/6")} />
      ))}
    </div>
  );
}
